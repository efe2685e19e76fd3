//! Data sets in folders, as their makers lay them out.

use std::fs;
use std::path::{Path, PathBuf};

use splatport::{
    Image, Result,
    data::{Dataset, Layout},
};

use super::points::{CROWD, KEYPOINTS, shipped};
use crate::files::{all_equal, folder};

fn write(path: PathBuf, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A photo of 40 x 30 px; what a file holds is seen from its content, not from its name.
fn photo(path: PathBuf) {
    let saved = path.with_extension("png");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    Image::from_u8(40, 30, 1, vec![7; 1200]).unwrap().save(&saved).unwrap();
    fs::rename(saved, path).unwrap();
}

/// Two photos in every layout, the second under a name with spaces where the layout lets it.
fn set(test: &str, layout: Layout) -> PathBuf {
    let root = folder(test);
    let (photos, points): ([&str; 2], [(&str, Vec<u8>); 2]) = match layout {
        Layout::Folder => (
            ["a.png", "ö b.JPG"],
            [("a_points.csv", "x,y,box_w,box_h\n1,2,8,4\n".into()), ("ö b_points.csv", "x,y\n".into())],
        ),
        Layout::ShanghaiTech => (
            ["images/IMG_1.jpg", "images/IMG_2.jpg"],
            [
                ("ground-truth/GT_IMG_1.mat", shipped("shanghai.mat")),
                ("ground-truth/GT_IMG_2.mat", shipped("shanghai_plain.mat")),
            ],
        ),
        Layout::UcfQnrf => (
            ["img_0001.jpg", "img_0002.jpg"],
            [("img_0001_ann.mat", shipped("qnrf.mat")), ("img_0002_ann.mat", shipped("qnrf.mat"))],
        ),
        Layout::Jhu => (
            ["images/0001.jpg", "images/0002.jpg"],
            [("gt/0001.txt", "12 30 8 10 1 0\n".into()), ("gt/0002.txt", Vec::new())],
        ),
        Layout::Nwpu => (
            ["images/0001.jpg", "images/0002.jpg"],
            [("jsons/0001.json", CROWD.into()), ("jsons/0002.json", r#"{"points": []}"#.into())],
        ),
        other => panic!("no photos for {other:?}"),
    };
    photos.into_iter().for_each(|name| photo(root.join(name)));
    points.into_iter().for_each(|(name, content)| write(root.join(name), content));
    root
}

fn error<T>(result: Result<T>, root: &Path) -> String {
    let error = result.err().expect("an error").to_string().replace(&root.display().to_string(), "SET");
    assert!(!error.contains('\n'), "{error}");
    error
}

#[test]
fn every_layout_is_read() {
    let cases = [
        (Layout::Folder, ["a", "ö b"], [1, 0]),
        (Layout::ShanghaiTech, ["IMG_1", "IMG_2"], [3, 3]),
        (Layout::UcfQnrf, ["img_0001", "img_0002"], [2, 2]),
        (Layout::Jhu, ["0001", "0002"], [1, 0]),
        (Layout::Nwpu, ["0001", "0002"], [2, 0]),
    ];
    for (layout, ids, counts) in cases {
        let root = set("layouts", layout);
        let set = Dataset::open(layout, &root).unwrap();
        assert_eq!([set.id(0), set.id(1), set.id(2)], [Some(ids[0]), Some(ids[1]), None], "{layout:?}");
        let samples: Vec<_> = set.samples().map(|sample| sample.unwrap()).collect();
        assert_eq!(samples.iter().map(|sample| sample.annotations.len()).collect::<Vec<_>>(), counts, "{layout:?}");
        assert!(samples.iter().all(|sample| sample.image.width() == 40));
        let scales = samples[0].scales.clone();
        match layout {
            Layout::Folder => assert_eq!(scales.unwrap(), [[2.0, 1.0]]),
            Layout::Jhu => assert_eq!(scales.unwrap(), [[2.0, 2.5]]),
            Layout::Nwpu => assert_eq!(scales.unwrap(), [[1.25, 2.625], [1.0, 1.5]]),
            _ => assert_eq!(scales, None),
        }
        assert_eq!(error(set.sample(2), &root), "photo of the data set, index[0] is 2, outside 0..=1");
    }
}

#[test]
fn the_other_name_of_ground_truth_is_known() {
    let root = set("underscore", Layout::ShanghaiTech);
    fs::rename(root.join("ground-truth"), root.join("ground_truth")).unwrap();
    assert_eq!(Dataset::open(Layout::ShanghaiTech, &root).unwrap().len(), 2);
}

#[test]
fn a_list_chooses_photos() {
    let root = set("listed", Layout::Nwpu);
    write(root.join("train.txt"), "0002 1 0\n\n0001 0 2\n");
    write(root.join("wrong.txt"), "0001\n0003 1\n");
    write(root.join("empty.txt"), "\n \n");
    let set = Dataset::open(Layout::Nwpu, &root).unwrap();
    let train = set.listed(root.join("train.txt")).unwrap();
    assert_eq!([train.id(0), train.id(1)], [Some("0002"), Some("0001")]);
    assert_eq!(error(set.listed(root.join("wrong.txt")), &root), "SET/wrong.txt: line 2: no photo `0003`");
    assert_eq!(error(set.listed(root.join("none.txt")), &root), "cannot read SET/none.txt");
    assert_eq!(error(set.listed(root.join("empty.txt")), &root), "SET/empty.txt: no photos");
    assert_eq!(set.annotations(2).unwrap_err().to_string(), "photo of the data set, index[0] is 2, outside 0..=1");
}

#[test]
fn coco_is_photos_and_one_file() {
    let root = folder("coco-set");
    write(root.join("k.json"), KEYPOINTS);
    photo(root.join("images/b.jpg"));
    let open = || Dataset::coco(root.join("images"), root.join("k.json"));
    assert_eq!(error(open(), &root), "SET/k.json: image 7: no photo `a.jpg` in SET/images");
    photo(root.join("images/a.jpg"));
    let set = open().unwrap();
    assert_eq!([set.id(0), set.id(1)], [Some("a.jpg"), Some("b.jpg")]);
    assert_eq!(set.sample(0).unwrap().annotations.points(), [[10.5, 20.5], [12.5, 19.5]]);
    photo(root.join("secret.jpg"));
    write(root.join("k.json"), KEYPOINTS.replace("a.jpg", "../secret.jpg"));
    assert_eq!(error(open(), &root), "SET/k.json: image 7: no photo `../secret.jpg` in SET/images");
    write(root.join("k.json"), KEYPOINTS.replace("b.jpg", "a.jpg"));
    assert_eq!(error(open(), &root), "SET/k.json: a second image for `a.jpg`");
    write(root.join("k.json"), r#"{"images": [], "annotations": []}"#);
    assert_eq!(error(open(), &root), "SET/k.json: no images");
}

#[test]
fn missing_and_unequal_files_are_named() {
    let open = |test: &str, layout, change: &dyn Fn(&Path)| {
        let root = set(test, layout);
        change(&root);
        error(Dataset::open(layout, &root), &root)
    };
    let removed = |name: &'static str| move |root: &Path| fs::remove_file(root.join(name)).unwrap();
    all_equal(&[
        (
            open("no-mat", Layout::ShanghaiTech, &removed("ground-truth/GT_IMG_2.mat")),
            "SET/images/IMG_2.jpg: no points `GT_IMG_2.mat` in SET/ground-truth",
        ),
        (
            open("no-photo", Layout::ShanghaiTech, &removed("images/IMG_1.jpg")),
            "SET/ground-truth/GT_IMG_1.mat: no photo `IMG_1` in SET/images",
        ),
        (
            open("no-ann", Layout::UcfQnrf, &removed("img_0001_ann.mat")),
            "SET/img_0001.jpg: no points `img_0001_ann.mat` in SET/",
        ),
        (open("no-gt", Layout::Jhu, &removed("gt/0002.txt")), "SET/images/0002.jpg: no points `0002.txt` in SET/gt"),
        (open("no-own", Layout::Folder, &removed("a.png")), "SET/a_points.csv: no photo `a` in SET/"),
        (
            open("twice", Layout::Jhu, &|root| photo(root.join("images/0001.png"))),
            "SET/images/0001.png: a second file for `0001`",
        ),
        (open("no-folder", Layout::Jhu, &|root| fs::remove_dir_all(root.join("gt")).unwrap()), "cannot read SET/gt"),
        (
            open("nothing", Layout::Folder, &|root| {
                for name in ["a_points.csv", "ö b_points.csv"] {
                    fs::remove_file(root.join(name)).unwrap();
                }
            }),
            "SET/: no points: no file `*_points.csv`",
        ),
    ]);
}

#[test]
fn photos_without_points_are_the_test_part() {
    let root = set("test-part", Layout::Nwpu);
    photo(root.join("images/3610.jpg"));
    assert_eq!(Dataset::open(Layout::Nwpu, &root).unwrap().len(), 2);
}

#[test]
fn a_wrong_photo_stops_itself_only() {
    let root = set("wrong-photo", Layout::Jhu);
    write(root.join("images/0001.jpg"), "no photo");
    let set = Dataset::open(Layout::Jhu, &root).unwrap();
    let results: Vec<_> = set.samples().collect();
    assert!(results[1].is_ok());
    assert_eq!(error(set.sample(0), &root), "cannot read SET/images/0001.jpg");
    write(root.join("gt/0002.txt"), "1 2 3");
    assert_eq!(error(set.sample(1), &root), "SET/gt/0002.txt: line 1: expected 6 fields, got 3");
}
