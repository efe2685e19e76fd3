# Sourced: makes sure that a Vulkan driver is there, Mesa's software one where there is none.

have_vulkan() {
    [ "$(uname -s)" = Linux ] || return 0
    ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || /sbin/ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || return 1
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null || compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null \
        || compgen -G '/usr/local/share/vulkan/icd.d/*.json' >/dev/null
}

if ! have_vulkan; then
    packages="mesa-vulkan-drivers libvulkan1"
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        echo "No Vulkan driver found. Install your GPU's, or a software one: apt-get install $packages (as root)." >&2
        exit 1
    fi
    echo "No Vulkan driver found: installing Mesa's ($packages)."
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq $packages >/dev/null
fi

# Mesa's device selection looks for a Wayland display and complains on stderr where there is no session.
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
fi
