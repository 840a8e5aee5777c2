//! CIFAR-10 and CIFAR-100 in their binary format.
//!
//! A record is one label byte (CIFAR-10) or two, coarse and fine (CIFAR-100), and 3,072 pixels: 1,024
//! red, 1,024 green and 1,024 blue values, each plane row by row (Krizhevsky 2009, *Learning multiple
//! layers of features from tiny images*, and the page of the data set). CIFAR-10 is also handed around as class folders
//! of PNG or JPEG files.

use super::files::{read_file, require_folder};
use super::{ImageError, ImageFolderOptions, ImageSet, ImageSplits, OtherSizes, read_image_folder};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The names of CIFAR-10's classes in the order of their labels.
pub const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The largest file of records that is read, 1 GiB: five times the whole of CIFAR.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// Rows and columns of an image.
const SIDE: usize = 32;
/// Pixel values of an image.
const IMAGE_BYTES: usize = 3 * SIDE * SIDE;
/// The largest list of class names that is read.
const MAX_NAMES_BYTES: u64 = 1 << 16;

/// Which of its two labels is used for a CIFAR-100 image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cifar100Labels {
    /// One of 100 classes.
    Fine,
    /// One of 20 groups of five classes.
    Coarse,
}

/// One label byte of a record.
struct LabelByte {
    kind: &'static str,
    num_classes: usize,
}

/// The label bytes of a record, in order, and which of them is used.
struct RecordFormat {
    label_bytes: &'static [LabelByte],
    chosen: usize,
}

const CIFAR10: RecordFormat = RecordFormat { label_bytes: &[LabelByte { kind: "label", num_classes: 10 }], chosen: 0 };

const CIFAR100_LABEL_BYTES: &[LabelByte] =
    &[LabelByte { kind: "coarse label", num_classes: 20 }, LabelByte { kind: "fine label", num_classes: 100 }];

/// Reads CIFAR-10's binary files, or its images in class folders.
///
/// Without any of the binary files, a folder with a folder `train` in it is read as class folders,
/// `train/airplane/*.png` (or JPEG) and so on, by [`read_image_folder`]: the classes have to be [`CIFAR10_CLASSES`] and
/// the images 32 × 32. JPEG files hold the images only approximately; [`ImageSplits::from_jpeg`] counts them.
///
/// Training images are those of `data_batch_1.bin` to `data_batch_5.bin`, in this order; those that exist are read, at
/// least one, and a gap is not an error: [`ImageSet::len`] tells how many images were read, 10,000 per file in the
/// original. Test images are those of `test_batch.bin`. Class names are the lines of `batches.meta.txt`, or
/// [`CIFAR10_CLASSES`] without that file. When `folder` contains a folder `cifar-10-batches-bin`, as the archive does,
/// the files are taken from there.
///
/// # Shapes
/// Images `[n, 3, 32, 32]`.
///
/// # Errors
/// [`ImageError`] with the file and, where a record is wrong, its number, byte offset and value.
pub fn read_cifar10(folder: &Path) -> Result<ImageSplits, ImageError> {
    let class_folders = folder;
    let folder = data_folder(folder, "cifar-10-batches-bin")?;
    let fallback = || CIFAR10_CLASSES.map(String::from).to_vec();
    let names = read_names(&folder.join("batches.meta.txt"), 10, fallback)?;
    let batches = (1..=5).map(|k| folder.join(format!("data_batch_{k}.bin")));
    let mut batches: Vec<PathBuf> = batches.filter(|path| fs::symlink_metadata(path).is_ok()).collect();
    if batches.is_empty() && class_folders.join("train").is_dir() {
        return read_cifar10_folders(class_folders);
    }
    if batches.is_empty() {
        // Reported as missing when it is read.
        batches.push(folder.join("data_batch_1.bin"));
    }
    Ok(ImageSplits {
        train: read_records(&batches, &CIFAR10, "one of data_batch_1.bin to data_batch_5.bin", &names)?,
        test: read_records(&[folder.join("test_batch.bin")], &CIFAR10, "CIFAR-10's test_batch.bin", &names)?,
        from_jpeg: 0,
    })
}

fn read_cifar10_folders(folder: &Path) -> Result<ImageSplits, ImageError> {
    let options = ImageFolderOptions { size: SIDE, other_sizes: OtherSizes::Refuse };
    let splits = read_image_folder(folder, options)?;
    let found = splits.train.class_names();
    if found != CIFAR10_CLASSES {
        return Err(ImageError::NotCifar10Classes { path: folder.join("train"), found: found.to_vec() });
    }
    Ok(splits)
}

/// Reads CIFAR-100's binary files `train.bin` and `test.bin`.
///
/// Class names are the lines of `fine_label_names.txt` or `coarse_label_names.txt`; without that file they are "class
/// 0", "class 1" and so on. When `folder` contains a folder `cifar-100-binary`, as the archive does, the files are
/// taken from there.
///
/// # Shapes
/// Images `[n, 3, 32, 32]`.
///
/// # Errors
/// As [`read_cifar10`]; both labels of a record are checked, whichever is chosen.
pub fn read_cifar100(folder: &Path, labels: Cifar100Labels) -> Result<ImageSplits, ImageError> {
    let folder = data_folder(folder, "cifar-100-binary")?;
    let (chosen, file) = match labels {
        Cifar100Labels::Coarse => (0, "coarse_label_names.txt"),
        Cifar100Labels::Fine => (1, "fine_label_names.txt"),
    };
    let format = RecordFormat { label_bytes: CIFAR100_LABEL_BYTES, chosen };
    let num_classes = CIFAR100_LABEL_BYTES[chosen].num_classes;
    let fallback = || (0..num_classes).map(|k| format!("class {k}")).collect();
    let names = read_names(&folder.join(file), num_classes, fallback)?;
    Ok(ImageSplits {
        train: read_records(&[folder.join("train.bin")], &format, "CIFAR-100's train.bin", &names)?,
        test: read_records(&[folder.join("test.bin")], &format, "CIFAR-100's test.bin", &names)?,
        from_jpeg: 0,
    })
}

/// The folder with the files: `inner` inside `folder` where there is one, otherwise `folder`.
fn data_folder(folder: &Path, inner: &str) -> Result<PathBuf, ImageError> {
    require_folder(folder, "the folder of the binary files")?;
    let inside = folder.join(inner);
    Ok(if inside.is_dir() { inside } else { folder.into() })
}

/// The lines of a file that are not blank, one for each class.
fn read_names(path: &Path, expected: usize, fallback: impl FnOnce() -> Vec<String>) -> Result<Vec<String>, ImageError> {
    let bytes = match read_file(path, MAX_NAMES_BYTES, "a list of class names") {
        Err(ImageError::Missing { .. }) => return Ok(fallback()),
        bytes => bytes?,
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        ImageError::Io { path: path.into(), source }
    })?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if let Some(name) = names.iter().enumerate().find_map(|(i, name)| names[..i].contains(name).then_some(name)) {
        return Err(ImageError::RepeatedName { path: path.into(), name: name.clone() });
    }
    match names.len() {
        found if found == expected => Ok(names),
        found => Err(ImageError::WrongNumberOfNames { path: path.into(), found, expected }),
    }
}

fn read_records(
    paths: &[PathBuf],
    format: &RecordFormat,
    needed: &'static str,
    class_names: &[String],
) -> Result<ImageSet, ImageError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        let bytes = read_file(path, MAX_FILE_BYTES, needed)?;
        format.append(path, &bytes, &mut pixels, &mut labels)?;
    }
    ImageSet::new(SIDE, SIDE, pixels, labels, class_names.to_vec())
}

impl RecordFormat {
    /// Appends the images and labels of a file's records.
    fn append(
        &self,
        path: &Path,
        bytes: &[u8],
        pixels: &mut Vec<u8>,
        labels: &mut Vec<usize>,
    ) -> Result<(), ImageError> {
        let record_bytes = self.label_bytes.len() + IMAGE_BYTES;
        let (whole_records, left_over) = (bytes.len() / record_bytes, bytes.len() % record_bytes);
        if left_over != 0 {
            let (path, bytes) = (path.into(), bytes.len());
            return Err(ImageError::PartialRecord { path, bytes, record_bytes, whole_records, left_over });
        }
        pixels.reserve_exact(whole_records * IMAGE_BYTES);
        labels.reserve_exact(whole_records);
        for (record, bytes) in bytes.chunks_exact(record_bytes).enumerate() {
            for (k, (&value, &LabelByte { kind, num_classes })) in bytes.iter().zip(self.label_bytes).enumerate() {
                if usize::from(value) >= num_classes {
                    let (path, offset) = (path.into(), record * record_bytes + k);
                    return Err(ImageError::LabelOutOfRange { path, record, kind, offset, value, num_classes });
                }
            }
            labels.push(usize::from(bytes[self.chosen]));
            pixels.extend_from_slice(&bytes[self.label_bytes.len()..]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::ChannelStatistics;
    use image::{Rgb, RgbImage};
    use std::fs::File;
    use tempfile::{TempDir, tempdir};

    /// Records whose pixels all have the value given with the label bytes.
    fn records(records: &[(&[u8], u8)]) -> Vec<u8> {
        records.iter().flat_map(|(labels, value)| [*labels, &[*value; IMAGE_BYTES]].concat()).collect()
    }

    fn cifar10() -> TempDir {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("data_batch_1.bin"), records(&[(&[3], 30), (&[9], 90)])).unwrap();
        fs::write(folder.path().join("test_batch.bin"), records(&[(&[0], 7)])).unwrap();
        folder
    }

    fn cifar100() -> TempDir {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("train.bin"), records(&[(&[19, 99], 1), (&[0, 42], 2)])).unwrap();
        fs::write(folder.path().join("test.bin"), records(&[(&[7, 5], 3)])).unwrap();
        folder
    }

    /// The error's message, with the folder taken out.
    fn message(folder: &Path, result: Result<ImageSplits, ImageError>) -> String {
        result.unwrap_err().to_string().replace(&format!("{}/", folder.display()), "")
    }

    #[test]
    fn planes_are_red_green_blue_row_by_row() {
        let folder = cifar10();
        let mut record = vec![4u8];
        record.extend((0..IMAGE_BYTES).map(|i| (i / 1024 * 100 + i % 1024 / 32) as u8));
        fs::write(folder.path().join("test_batch.bin"), &record).unwrap();
        let test = read_cifar10(folder.path()).unwrap().test;
        assert_eq!(test.labels(), [4]);
        for (channel, plane) in test.pixels(0).chunks(1024).enumerate() {
            for (row, values) in plane.chunks(32).enumerate() {
                assert_eq!(values, [(channel * 100 + row) as u8; 32]);
            }
        }
    }

    #[test]
    fn cifar10_is_read_from_class_folders_and_jpeg_files_are_counted() {
        let folder = tempdir().unwrap();
        let save = |split: &str, class: &str, ending: &str, side: u32| {
            let class = folder.path().join(split).join(class);
            fs::create_dir_all(&class).unwrap();
            RgbImage::from_pixel(side, side, Rgb([40, 90, 200])).save(class.join(format!("0.{ending}"))).unwrap();
        };
        for class in CIFAR10_CLASSES {
            save("train", class, "jpg", 32);
            save("test", class, "png", 32);
        }
        let splits = read_cifar10(folder.path()).unwrap();
        assert_eq!(splits.from_jpeg, 10);
        assert_eq!(splits.train.class_names(), CIFAR10_CLASSES);
        assert_eq!(splits.test.labels(), (0..10).collect::<Vec<_>>());
        assert_eq!(splits.test.pixels(3)[1024..2048], [90; 1024]);

        // The exact images are preferred.
        fs::write(folder.path().join("data_batch_1.bin"), records(&[(&[3], 30)])).unwrap();
        fs::write(folder.path().join("test_batch.bin"), records(&[(&[0], 7)])).unwrap();
        assert_eq!(read_cifar10(folder.path()).unwrap().from_jpeg, 0);
        for name in ["data_batch_1.bin", "test_batch.bin"] {
            fs::remove_file(folder.path().join(name)).unwrap();
        }

        save("test", "cat", "png", 31);
        assert_eq!(
            message(folder.path(), read_cifar10(folder.path())),
            "test/cat/0.png is 31 x 31 pixels; 32 x 32 is needed"
        );
        save("test", "cat", "png", 32);
        for split in ["train", "test"] {
            fs::rename(folder.path().join(split).join("cat"), folder.path().join(split).join("caterpillar")).unwrap();
        }
        let refused = message(folder.path(), read_cifar10(folder.path()));
        assert!(
            refused.starts_with("the class folders of train are airplane, automobile, bird, caterpillar,"),
            "{refused}"
        );
    }

    #[test]
    fn batches_are_read_in_order_and_those_that_lack_are_left_out() {
        let folder = cifar10();
        fs::write(folder.path().join("data_batch_5.bin"), records(&[(&[5], 50)])).unwrap();
        fs::write(folder.path().join("data_batch_3.bin"), records(&[(&[1], 10)])).unwrap();
        fs::write(folder.path().join("data_batch_6.bin"), "not read").unwrap();
        let ImageSplits { train, test, .. } = read_cifar10(folder.path()).unwrap();
        assert_eq!(train.labels(), [3, 9, 1, 5]);
        assert_eq!((0..4).map(|i| train.pixels(i)[0]).collect::<Vec<_>>(), [30, 90, 10, 50]);
        assert_eq!((train.height(), train.width(), test.len()), (32, 32, 1));
        assert_eq!(test.pixels(0), [7; IMAGE_BYTES]);
    }

    #[test]
    fn class_names_come_from_the_file_or_are_the_official_ones() {
        let folder = cifar10();
        assert_eq!(read_cifar10(folder.path()).unwrap().train.class_names(), CIFAR10_CLASSES);
        let names: Vec<String> = (0..10).map(|k| format!("name {k}")).collect();
        let file = folder.path().join("batches.meta.txt");
        fs::write(&file, names.join("\r\n") + "\n\n").unwrap();
        let splits = read_cifar10(folder.path()).unwrap();
        assert_eq!(splits.train.class_names(), names);
        assert_eq!(splits.test.class_names(), names);
        fs::write(&file, "one\ntwo\n").unwrap();
        assert_eq!(
            message(folder.path(), read_cifar10(folder.path())),
            "batches.meta.txt holds 2 class names, one a line; 10 are needed"
        );
        fs::write(&file, [0xff, 0xfe]).unwrap();
        let message = message(folder.path(), read_cifar10(folder.path()));
        assert!(message.starts_with("batches.meta.txt: invalid utf-8"), "{message}");
    }

    #[test]
    fn the_folder_of_the_archive_is_entered() {
        let outer = tempdir().unwrap();
        let ten = cifar10();
        fs::rename(ten.path(), outer.path().join("cifar-10-batches-bin")).unwrap();
        assert_eq!(read_cifar10(outer.path()).unwrap().train.len(), 2);
        let hundred = cifar100();
        fs::rename(hundred.path(), outer.path().join("cifar-100-binary")).unwrap();
        assert_eq!(read_cifar100(outer.path(), Cifar100Labels::Fine).unwrap().train.len(), 2);
    }

    #[test]
    fn cifar100_has_fine_and_coarse_labels() {
        let folder = cifar100();
        let fine = read_cifar100(folder.path(), Cifar100Labels::Fine).unwrap();
        assert_eq!((fine.train.labels(), fine.test.labels()), (&[99, 42][..], &[5][..]));
        assert_eq!((fine.train.num_classes(), fine.train.class_names()[42].as_str()), (100, "class 42"));
        let coarse = read_cifar100(folder.path(), Cifar100Labels::Coarse).unwrap();
        assert_eq!((coarse.train.labels(), coarse.test.labels()), (&[19, 0][..], &[7][..]));
        assert_eq!(coarse.train.num_classes(), 20);
        assert_eq!(fine.train.pixels(1), [2; IMAGE_BYTES]);
        assert_eq!(coarse.train.pixels(1), [2; IMAGE_BYTES]);
    }

    #[test]
    fn cifar100_class_names_come_from_the_file_of_their_kind() {
        let folder = cifar100();
        let names = |k: usize, kind: &str| (0..k).map(|i| format!("{kind} {i}\n")).collect::<String>();
        fs::write(folder.path().join("fine_label_names.txt"), names(100, "fine")).unwrap();
        fs::write(folder.path().join("coarse_label_names.txt"), names(20, "coarse")).unwrap();
        let fine = read_cifar100(folder.path(), Cifar100Labels::Fine).unwrap();
        assert_eq!(fine.train.class_names()[99], "fine 99");
        let coarse = read_cifar100(folder.path(), Cifar100Labels::Coarse).unwrap();
        assert_eq!(coarse.test.class_names()[19], "coarse 19");
    }

    #[test]
    fn a_label_out_of_range_is_reported_with_its_place() {
        let folder = cifar10();
        fs::write(folder.path().join("data_batch_2.bin"), records(&[(&[0], 0), (&[1], 0), (&[10], 0)])).unwrap();
        assert_eq!(
            message(folder.path(), read_cifar10(folder.path())),
            "data_batch_2.bin: record 2 (from 0) has label 10 at byte 6146; it has to be in 0..10"
        );
        let folder = cifar100();
        fs::write(folder.path().join("test.bin"), records(&[(&[0, 0], 0), (&[19, 100], 0)])).unwrap();
        for labels in [Cifar100Labels::Fine, Cifar100Labels::Coarse] {
            assert_eq!(
                message(folder.path(), read_cifar100(folder.path(), labels)),
                "test.bin: record 1 (from 0) has fine label 100 at byte 3075; it has to be in 0..100"
            );
        }
        fs::write(folder.path().join("train.bin"), records(&[(&[20, 0], 0)])).unwrap();
        assert_eq!(
            message(folder.path(), read_cifar100(folder.path(), Cifar100Labels::Fine)),
            "train.bin: record 0 (from 0) has coarse label 20 at byte 0; it has to be in 0..20"
        );
    }

    #[test]
    fn a_file_that_ends_inside_a_record_is_refused() {
        let folder = cifar10();
        let mut bytes = records(&[(&[3], 30), (&[9], 90)]);
        bytes.extend([1, 2, 3]);
        fs::write(folder.path().join("data_batch_1.bin"), bytes).unwrap();
        assert_eq!(
            message(folder.path(), read_cifar10(folder.path())),
            "data_batch_1.bin has 6149 bytes: 2 whole records of 3073 bytes and 3 bytes left over"
        );
    }

    #[test]
    fn missing_empty_and_oversized_files_are_told_apart() {
        let folder = cifar10();
        let test = folder.path().join("test_batch.bin");
        File::create(&test).unwrap();
        assert_eq!(message(folder.path(), read_cifar10(folder.path())), "test_batch.bin is empty");
        // A sparse file: long, but without bytes on the disk.
        File::create(&test).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        assert_eq!(
            message(folder.path(), read_cifar10(folder.path())),
            "test_batch.bin has 1073741825 bytes; files of this kind are read up to 1073741824 bytes"
        );
        fs::remove_file(&test).unwrap();
        assert_eq!(
            message(folder.path(), read_cifar10(folder.path())),
            "test_batch.bin is missing; needed is CIFAR-10's test_batch.bin"
        );
        fs::create_dir(&test).unwrap();
        assert_eq!(message(folder.path(), read_cifar10(folder.path())), "test_batch.bin is not a file");
        fs::remove_file(folder.path().join("data_batch_1.bin")).unwrap();
        assert_eq!(
            message(folder.path(), read_cifar10(folder.path())),
            "data_batch_1.bin is missing; needed is one of data_batch_1.bin to data_batch_5.bin"
        );
        let message = message(folder.path(), read_cifar100(folder.path(), Cifar100Labels::Fine));
        assert_eq!(message, "train.bin is missing; needed is CIFAR-100's train.bin");
    }

    #[test]
    fn a_folder_that_is_none_is_refused() {
        let folder = cifar10();
        let file = folder.path().join("test_batch.bin");
        assert_eq!(message(folder.path(), read_cifar10(&file)), "test_batch.bin is not a folder");
        let missing = folder.path().join("nowhere");
        assert_eq!(
            message(folder.path(), read_cifar100(&missing, Cifar100Labels::Fine)),
            "nowhere is missing; needed is the folder of the binary files"
        );
    }

    /// The real images, in the folder given by `CL_CIFAR10_DIR`: all of them, or a part with equally many training
    /// images of each class. The training set is usually quoted with channel means 0.491, 0.482 and 0.447 and
    /// deviations 0.247, 0.243 and 0.262; 5,000 images have a standard error of 0.002 (their means vary by about 0.12),
    /// so 0.01 is five of them.
    #[test]
    #[ignore = "needs CIFAR-10, whose folder CL_CIFAR10_DIR names"]
    fn the_real_images_have_ten_classes_and_the_known_means() {
        let folder = std::env::var_os("CL_CIFAR10_DIR").expect("CL_CIFAR10_DIR names the folder of CIFAR-10");
        let ImageSplits { train, test, .. } = read_cifar10(Path::new(&folder)).unwrap();
        for (set, spread) in [(&train, 0), (&test, test.len() / 20)] {
            assert_eq!((set.height(), set.width(), set.num_classes()), (32, 32, 10));
            for class in 0..10 {
                let count = set.labels().iter().filter(|label| **label == class).count();
                assert!(count.abs_diff(set.len() / 10) <= spread, "{count} of {} in class {class}", set.len());
            }
        }
        let ChannelStatistics { mean, std } = train.channel_statistics();
        for k in 0..3 {
            assert!((mean[k] - [0.491, 0.482, 0.447][k]).abs() < 0.01, "means {mean:?}");
            assert!((std[k] - [0.247, 0.243, 0.262][k]).abs() < 0.01, "deviations {std:?}");
        }
        let few = train.first_of_each_class(50).unwrap();
        assert_eq!(few.len(), 500);
        assert_ne!(train.fingerprint(), test.fingerprint());
    }
}
