//! Manifests: of points in many formats and places, and wrong ones.

use std::fs;
use std::path::Path;

use splatport::Annotations;

use crate::dataset::{RUN, data_set};
use crate::scene::{answer, failure, folder, run, scene};

#[test]
fn one_coco_file_gives_the_points_of_all_photos() {
    let folder = folder("coco");
    fs::create_dir_all(folder.join("photos/b")).expect("a folder");
    for name in ["photos/a.png", "photos/b/c.png", "photos/none.png", "photos/unlisted.png"] {
        scene(48, 40, 3, 1).0.save(folder.join(name)).expect("a photo");
    }
    let person = |image: u64, keypoints: &str| {
        format!(
            r#"{{"id": 9, "image_id": {image}, "category_id": 1, "keypoints": [{keypoints}], "bbox": [5, 6, 40.5, 80]}}"#
        )
    };
    let write = |people: &[String]| {
        let people = people.join(",");
        let text = format!(
            r#"{{"images": [{{"id": 4, "file_name": "b/c.png"}}, {{"id": 7, "file_name": "a.png"}}, {{"id": 8, "file_name": "none.png"}}],
            "categories": [{{"id": 1, "keypoints": ["nose", "eye, left"]}}], "annotations": [{people}]}}"#
        );
        fs::write(folder.join("k.json"), text).expect("a file");
    };
    write(&[person(7, "10,20,2,12,19.25,1"), person(4, "30,20,2,0,0,0"), person(8, "0,0,0,0,0,0")]);
    let make = ["manifest", "photos", "--coco", "k.json", "--points", "points", "-o", "m.jsonl"];
    for _ in 0..2 {
        let told = answer(&folder, &make);
        assert_eq!((&told["photos"], &told["points"], &told["failed"]), (&2.into(), &3.into(), &serde_json::json!([])));
        assert_eq!(told["without_points"], serde_json::json!(["photos/none.png", "photos/unlisted.png"]));
    }
    let points = Annotations::from_csv(folder.join("points/a.csv")).expect("points");
    let joints = Annotations::from_coco(folder.join("k.json"), 7).expect("points");
    assert_eq!((points.points(), points.columns()), (joints.points(), joints.columns()));
    assert_eq!(points.points(), [[10.5, 20.5], [12.5, 19.75]]);
    let ran = answer(&folder, &[&RUN[..], &["1000000", "--out", "out"]].concat());
    assert_eq!((&ran["written"], &ran["failed"]), (&2.into(), &0.into()));
    assert!(folder.join("out/b/c.gaussians.npz").exists());

    write(&[person(7, "1,2,2,12,19.25,1")]);
    let expected = "error: points/a.csv is there and holds other points: give another --points\n";
    assert_eq!(failure(&folder, &make), (1, expected.to_owned()));
    // The photo has no persons any more.
    write(&[person(4, "30,20,2,0,0,0")]);
    assert_eq!(failure(&folder, &make), (1, expected.to_owned()));
    write(&[person(7, "1,2,2,12")]);
    let expected = "error: k.json: annotation 9: 4 numbers for the 2 keypoints of its category\n";
    assert_eq!(failure(&folder, &make), (1, expected.to_owned()));
    fs::remove_file(folder.join("photos/a.png")).expect("a file");
    let expected = "error: k.json: image 7: no photo `a.png` in photos\n";
    assert_eq!(failure(&folder, &make), (1, expected.to_owned()));
    assert_eq!(failure(&folder, &["manifest", "photos", "--coco", "k.json", "-o", "m.jsonl"]).0, 2);
}

/// Points of ShanghaiTech, JHU-Crowd++ and NWPU-Crowd as their folders have them.
#[test]
fn a_manifest_takes_points_of_any_format() {
    let folder = folder("formats");
    let mat = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/data/files/shanghai.mat");
    for (name, bytes) in [
        ("GT_IMG_1.mat", fs::read(mat).expect("a file")),
        ("IMG_1.txt", b"12 30 8 10 1 0\n".to_vec()),
        ("IMG_1.json", br#"{"points": [[1.5, 2.5], [3, 4]]}"#.to_vec()),
    ] {
        fs::create_dir_all(folder.join("gt")).expect("a folder");
        fs::write(folder.join("gt").join(name), bytes).expect("a file");
    }
    fs::create_dir_all(folder.join("images")).expect("a folder");
    scene(48, 40, 3, 1).0.save(folder.join("images/IMG_1.png")).expect("a photo");
    for (name, count) in [("GT_{}.mat", 3), ("{}.txt", 1), ("{}.json", 2)] {
        let told = answer(&folder, &["manifest", "images", "--points", "gt", "--name", name, "-o", "m.jsonl"]);
        assert_eq!((&told["photos"], &told["points"]), (&1.into(), &count.into()), "{name}");
    }
    // A run reads them as a manifest does.
    let ran = answer(&folder, &[&RUN[..], &["1", "--out", "out"]].concat());
    assert_eq!((&ran["written"], &ran["failed"]), (&1.into(), &0.into()));
}

#[test]
fn wrong_manifests_are_refused() {
    let folder = folder("manifests");
    data_set(&folder, 2);
    let lines = fs::read_to_string(folder.join("m.jsonl")).expect("a manifest");
    let first = lines.lines().next().expect("a line");
    let told = |text: &str| {
        fs::write(folder.join("m.jsonl"), text).expect("a file");
        let (code, told) = failure(&folder, &[&RUN[..], &["1", "--out", "out"]].concat());
        assert_eq!(code, 1, "{told}");
        told
    };
    let twice = told(&format!("{lines}\n{first}\n"));
    assert_eq!(twice, "error: m.jsonl: line 4: the id `scene 0` comes twice: give each photo its own\n");
    let other = told(&first.replace("\"version\":1", "\"version\":2"));
    assert_eq!(other, "error: m.jsonl: line 1: version 2, this program reads 1\n");
    // Of the last four each would write the files of another id.
    for id in ["../scene 0", "/scene 0", "", "a/../b", "a//b", "a/./b", "./a", "a/"] {
        let outside = told(&first.replace("scene 0\",\"photo\"", &format!("{id}\",\"photo\"")));
        assert!(
            outside.starts_with(&format!("error: m.jsonl: line 1: the id `{id}` is no relative path")),
            "{outside}"
        );
    }
    assert!(told("{\"id\": 1}").starts_with("error: m.jsonl: line 1: "));
    assert!(!folder.join("out").exists());
}

#[test]
fn of_photos_whose_results_would_have_one_name_the_first_is_taken() {
    let folder = folder("one-name");
    data_set(&folder, 2);
    fs::copy(folder.join("photos/scene 0.png"), folder.join("photos/scene 0.jpg")).expect("a file");
    let output = run(&folder, &["manifest", "photos", "-o", "m.jsonl", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &told["photos"]), (Some(3), &2.into()), "{told}");
    let expected =
        "photos/scene 0.png: its results would have the name of those of photos/scene 0.jpg: give it another";
    assert_eq!(told["failed"], serde_json::json!([expected]));
    let lines = fs::read_to_string(folder.join("m.jsonl")).expect("a manifest");
    assert_eq!((lines.lines().count(), lines.matches("photos/scene 0.jpg").count()), (2, 1));
}
