//! Pages that need nothing but themselves.

use std::fs;

use crate::scene::{answer, folder, run, scene, write_scene};

/// Every address of a page is in it; the names of SVG and its version are no addresses.
fn assert_self_contained(page: &str) {
    for (at, _) in page.match_indices("http") {
        let address = &page[at..page.len().min(at + 40)];
        assert!(address.starts_with("http://www.w3.org/2000/svg"), "{address}");
    }
    for source in page.split("src=\"").skip(1) {
        assert!(source.starts_with("data:image/jpeg;base64,"), "{}", &source[..40]);
    }
}

#[test]
fn one_photo_has_pictures_plots_and_a_certificate() {
    let folder = folder("report");
    let name = "a <b>&\"c\"";
    write_scene(&folder, name, &scene(64, 48, 5, 0));
    let (photo, points) = (format!("{name}.png"), format!("{name}.csv"));
    let told = answer(&folder, &["report", &photo, &points, "-o", "page.html", "--steps", "4"]);
    let page = fs::read_to_string(folder.join("page.html")).expect("a page");
    assert_eq!(told["bytes"], page.len());
    assert_self_contained(&page);
    assert_eq!((page.matches("<img ").count(), page.matches("<svg ").count()), (4, 3));
    for text in ["5</td>", "dropping moves a row by at most 0.001", "in 4 steps", "a &lt;b&gt;&amp;&quot;c&quot;</h2>"]
    {
        assert!(page.contains(text), "no {text}");
    }
    assert!(!page.contains(name), "the name is not escaped");
}

#[test]
fn a_data_set_is_shown_from_its_results() {
    let folder = folder("report-many");
    fs::create_dir(folder.join("photos")).expect("a folder");
    for n in 0..3 {
        write_scene(&folder, &format!("photos/{n}"), &scene(48, 40, 2 * n, n));
    }
    answer(&folder, &["manifest", "photos", "-o", "m.jsonl"]);
    let fit = ["run", "-m", "m.jsonl", "-o", "out", "--steps", "3", "--format", "safetensors"];
    answer(&folder, &[&fit[..], &["--stride", "5", "--tau", "0.03"]].concat());
    fs::remove_file(folder.join("out/0.kernel.safetensors")).expect("a file");
    fs::remove_file(folder.join("out/2.gaussians.safetensors")).expect("a file");
    let output = run(&folder, &["report", "-m", "m.jsonl", "-r", "out", "-o", "page.html"]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(folder.join("page.html")).expect("a page");
    assert_self_contained(&page);
    // The second has points and a fit's curve; the first none; the third no results.
    assert_eq!((page.matches("<img ").count(), page.matches("<svg ").count()), (8, 3));
    assert_eq!(page.matches("no results: `splatport run` makes them").count(), 2);
    assert!(page.contains("in 3 steps"), "the fit's report comes from the Gaussians' file");
    // The certificate is the stored kernel's, where there is one, and a page says whose it tells.
    for text in
        ["10 x 8 cells of 5 px", "by at most 0.03", "weights, stored<", "6 x 5 cells of 8 px", "by at most 0.001"]
    {
        assert_eq!(page.matches(text).count(), 1, "{text}");
    }
    assert!(page.contains("weights, built for this page<") && page.contains(", 3 photos</div>"));

    let few = ["report", "-m", "m.jsonl", "-r", "out", "-o", "few.html", "--most", "2"];
    let told = answer(&folder, &few);
    assert_eq!((&told["photos"], &told["of"]), (&2.into(), &3.into()));
    let page = fs::read_to_string(folder.join("few.html")).expect("a page");
    assert!(page.contains(", the first 2 of 3 photos</div>"));
    let told = String::from_utf8(run(&folder, &few).stdout).expect("text");
    assert!(told.contains(": 2 of 3 photos, ") && told.contains("--most shows more"), "{told}");
}
