# Sourced: makes sure that a Vulkan driver is there, Mesa's software one where there is none.

have_vulkan() {
    [ "$(uname -s)" = Linux ] || return 0
    ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || /sbin/ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || return 1
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
    local icds=(/usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d)
    # A software driver needs no device. A GPU's, which may be there without a GPU (an image made for one), needs its node.
    [ -n "$(find "${icds[@]}" -name 'lvp_icd*.json' 2>/dev/null)" ] && return 0
    [ -n "$(find "${icds[@]}" -name '*.json' 2>/dev/null)" ] || return 1
    compgen -G '/dev/dri/render*' >/dev/null || compgen -G '/dev/nvidia[0-9]*' >/dev/null || [ -e /dev/dxg ]
}

if ! have_vulkan; then
    packages="mesa-vulkan-drivers libvulkan1"
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        as_root=""
    elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        echo "No Vulkan driver with a device found. Install your GPU's, or a software one: apt-get install $packages (as root)." >&2
        exit 1
    fi
    echo "No Vulkan driver with a device found: installing Mesa's ($packages)."
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq $packages >/dev/null
fi

# Mesa's device selection looks for a Wayland display and complains on stderr where there is no session.
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
fi
