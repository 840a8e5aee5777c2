//! Images as PNG and JPEG files in class folders.

use super::files::{read_file, require_folder};
use super::{ImageError, ImageSet, ImageSplits};
use image::imageops::{self, FilterType};
use image::{ImageFormat, ImageReader, Limits, RgbImage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// The largest image file that is read, 64 MiB.
pub const MAX_IMAGE_FILE_BYTES: u64 = 64 << 20;
/// The largest width or height of an image file, and the largest size images are resized to.
pub const MAX_IMAGE_SIDE: usize = 8192;
/// What a decoder may allocate for one image, 256 MiB.
pub const MAX_DECODER_BYTES: u64 = 256 << 20;

/// How a folder of images is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageFolderOptions {
    /// Height and width of the images of the set, in 1..=[`MAX_IMAGE_SIDE`].
    pub size: usize,
    /// What is done with images of another size.
    pub other_sizes: OtherSizes,
}

/// What is done with an image file that is not `size` × `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtherSizes {
    /// The largest square around its centre is resized to `size` with a triangle filter. (The shorter side becomes
    /// `size` and the middle of the longer one stays.)
    #[default]
    Resize,
    /// The image is refused.
    Refuse,
}

/// Reads `folder/train/<class>/*.png` (or `.jpg`, `.jpeg`, in any case) and the same under `test`.
///
/// Classes are labelled in the order of their names and have to be the same in both splits; the images of a class are
/// in the order of their file names; both orders are bytewise. Images become 8-bit RGB: alpha is dropped, grey is
/// repeated, higher bit depths are rounded; orientation tags are ignored. A file's content, not its extension, decides
/// how it is decoded.
///
/// Hidden entries, whose names begin with a dot, are skipped; anything else that does not belong is an error, so that
/// no image is skipped unnoticed. Symbolic links are followed if they stay inside `folder`. Decoders are limited by
/// [`MAX_IMAGE_FILE_BYTES`], [`MAX_IMAGE_SIDE`] and [`MAX_DECODER_BYTES`].
///
/// # Shapes
/// Images `[n, 3, size, size]`.
///
/// # Errors
/// [`ImageError`] naming the file or folder.
pub fn read_image_folder(folder: &Path, options: ImageFolderOptions) -> Result<ImageSplits, ImageError> {
    match options.size {
        0 => return Err(ImageError::Zero { name: "size" }),
        value if value > MAX_IMAGE_SIDE => {
            return Err(ImageError::AboveBound { name: "size", value, bound: MAX_IMAGE_SIDE });
        }
        _ => {}
    }
    require_folder(folder, "the folder of images")?;
    let root = fs::canonicalize(folder).map_err(|source| ImageError::Io { path: folder.into(), source })?;
    let reader = Reader { folder, root, options };
    let (train, test) = (folder.join("train"), folder.join("test"));
    let (train_classes, test_classes) = (reader.classes(&train)?, reader.classes(&test)?);
    same_classes(&train, &train_classes, &test, &test_classes)?;
    same_classes(&test, &test_classes, &train, &train_classes)?;
    let [(train, a), (test, b)] = [reader.read(&train_classes)?, reader.read(&test_classes)?];
    Ok(ImageSplits { train, test, from_jpeg: a + b })
}

/// The names of a folder's entries and where they are, in order.
type Entries = BTreeMap<String, PathBuf>;

fn same_classes(present_in: &Path, has: &Entries, missing_in: &Path, lacks: &Entries) -> Result<(), ImageError> {
    match has.keys().find(|class| !lacks.contains_key(*class)) {
        Some(class) => Err(ImageError::ClassMissing {
            class: class.clone(),
            present_in: present_in.into(),
            missing_in: missing_in.into(),
        }),
        None => Ok(()),
    }
}

struct Reader<'a> {
    /// The folder as it was given, for messages.
    folder: &'a Path,
    /// The same with links resolved.
    root: PathBuf,
    options: ImageFolderOptions,
}

impl Reader<'_> {
    /// The class folders of a split.
    fn classes(&self, split: &Path) -> Result<Entries, ImageError> {
        require_folder(split, "a folder with one folder a class")?;
        self.refuse_link_out(split)?;
        let classes = self.entries(split)?;
        if classes.is_empty() {
            return Err(ImageError::NoClasses { path: split.into() });
        }
        classes.values().try_for_each(|class| require_folder(class, "a class folder"))?;
        Ok(classes)
    }

    /// The images of a split's classes, class by class, and how many of the files were JPEG.
    fn read(&self, classes: &Entries) -> Result<(ImageSet, usize), ImageError> {
        let (mut pixels, mut labels, mut from_jpeg) = (Vec::new(), Vec::new(), 0);
        for (label, class) in classes.values().enumerate() {
            let files = self.entries(class)?;
            if files.is_empty() {
                return Err(ImageError::EmptyClass { path: class.clone() });
            }
            for path in files.values() {
                let (image, format) = self.image(path)?;
                push_planes(&image, &mut pixels);
                labels.push(label);
                from_jpeg += usize::from(format == Some(ImageFormat::Jpeg));
            }
        }
        let names = classes.keys().cloned().collect();
        Ok((ImageSet::new(self.options.size, self.options.size, pixels, labels, names)?, from_jpeg))
    }

    /// What a folder holds, hidden entries left out and links checked.
    fn entries(&self, folder: &Path) -> Result<Entries, ImageError> {
        let failed = |source| ImageError::Io { path: folder.into(), source };
        let mut entries = Entries::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let name = entry.file_name().into_string();
            let name = name.map_err(|_| ImageError::NameNotUtf8 { path: path.clone() })?;
            self.refuse_link_out(&path)?;
            entries.insert(name, path);
        }
        Ok(entries)
    }

    /// Rejects a link that points outside the folder. Anything else is in its own parent folder, which has already been
    /// checked.
    fn refuse_link_out(&self, path: &Path) -> Result<(), ImageError> {
        let failed = |source| ImageError::Io { path: path.into(), source };
        if !fs::symlink_metadata(path).map_err(failed)?.is_symlink() {
            return Ok(());
        }
        let target = fs::canonicalize(path).map_err(failed)?;
        if target.starts_with(&self.root) {
            return Ok(());
        }
        Err(ImageError::LinkLeavesFolder { path: path.into(), target, folder: self.folder.into() })
    }

    fn image(&self, path: &Path) -> Result<(RgbImage, Option<ImageFormat>), ImageError> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known)) {
            return Err(ImageError::NotAnImageName { path: path.into() });
        }
        let (image, format) = decode(path)?;
        let (width, height) = image.dimensions();
        let size = self.options.size as u32;
        if (width, height) == (size, size) {
            return Ok((image, format));
        }
        match self.options.other_sizes {
            OtherSizes::Resize => Ok((centre_square(&image, size), format)),
            OtherSizes::Refuse => {
                Err(ImageError::WrongImageSize { path: path.into(), width, height, size: self.options.size })
            }
        }
    }
}

fn decode(path: &Path) -> Result<(RgbImage, Option<ImageFormat>), ImageError> {
    let bytes = read_file(path, MAX_IMAGE_FILE_BYTES, "an image")?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_IMAGE_SIDE as u32);
    limits.max_image_height = Some(MAX_IMAGE_SIDE as u32);
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format();
    let mut reader = reader.map_err(|source| ImageError::Io { path: path.into(), source })?;
    reader.limits(limits);
    let format = reader.format();
    let image = reader.decode().map_err(|source| ImageError::Undecodable { path: path.into(), source })?;
    if format == Some(ImageFormat::Jpeg) && !has_end_of_jpeg(&bytes) {
        return Err(ImageError::TruncatedJpeg { path: path.into() });
    }
    Ok((image.into_rgb8(), format))
}

/// Whether the image in a JPEG file has its end-of-image marker. Segments are skipped by length, so that a preview in
/// the header is not taken for the image, and what follows the end, such as a video, is ignored.
fn has_end_of_jpeg(bytes: &[u8]) -> bool {
    const TEM: u8 = 0x01;
    const RST0: u8 = 0xd0;
    const RST7: u8 = 0xd7;
    const SOI: u8 = 0xd8;
    const EOI: u8 = 0xd9;
    let mut at = 2;
    loop {
        // In scan data, 0xff before 0 is not a marker, and 0xff before 0xff is padding.
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(found) = rest.array_windows().position(|[a, b]| *a == 0xff && !matches!(b, 0 | 0xff)) else {
            return false;
        };
        let marker = rest[found + 1];
        at += found + 2;
        match marker {
            EOI => return true,
            // Another image begins before this one has ended.
            SOI => return false,
            TEM | RST0..=RST7 => {}
            _ => match bytes.get(at..at + 2) {
                Some(length) => at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2),
                None => return false,
            },
        }
    }
}

/// The largest square around the centre, resized to `size` × `size`. It is cropped before resizing, so that a long and
/// narrow image takes no more memory than it already has.
fn centre_square(image: &RgbImage, size: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let side = width.min(height);
    let square = imageops::crop_imm(image, (width - side) / 2, (height - side) / 2, side, side);
    imageops::resize(&*square, size, size, FilterType::Triangle)
}

/// Appends an image plane by plane.
fn push_planes(image: &RgbImage, pixels: &mut Vec<u8>) {
    for channel in 0..3 {
        pixels.extend(image.as_raw().iter().skip(channel).step_by(3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{DynamicImage, GrayImage, Luma, Rgb, Rgba, RgbaImage};
    use std::fs::File;
    use tempfile::{TempDir, tempdir};

    const OPTIONS: ImageFolderOptions = ImageFolderOptions { size: 4, other_sizes: OtherSizes::Resize };

    fn plain(width: u32, height: u32, colour: [u8; 3]) -> DynamicImage {
        RgbImage::from_pixel(width, height, Rgb(colour)).into()
    }

    fn save(folder: &TempDir, name: &str, image: impl Into<DynamicImage>) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.into().save_with_format(path, ImageFormat::Png).unwrap();
    }

    /// Two classes, `cat` and `dog`, with one image each in both splits.
    fn two_classes() -> TempDir {
        let folder = tempdir().unwrap();
        for (name, value) in [("train/dog/a.png", 1), ("train/cat/a.png", 2), ("test/cat/a.png", 3)] {
            save(&folder, name, plain(4, 4, [value, value, value]));
        }
        save(&folder, "test/dog/a.png", plain(4, 4, [4, 5, 6]));
        folder
    }

    fn read(folder: &TempDir) -> Result<ImageSplits, ImageError> {
        read_image_folder(folder.path(), OPTIONS)
    }

    /// The error's message, with the folder taken out.
    fn message(folder: &TempDir) -> String {
        read(folder).unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
    }

    /// Fills a file that is in the place of an image.
    fn write(folder: &TempDir, name: &str, content: &[u8]) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn classes_and_files_come_in_the_order_of_their_names() {
        let folder = two_classes();
        save(&folder, "train/cat/c.JPEG", plain(4, 4, [30, 30, 30]));
        save(&folder, "train/cat/b.Png", plain(4, 4, [20, 20, 20]));
        let ImageSplits { train, test, .. } = read(&folder).unwrap();
        assert_eq!(train.class_names(), ["cat", "dog"]);
        assert_eq!(test.class_names(), ["cat", "dog"]);
        assert_eq!(train.labels(), [0, 0, 0, 1]);
        assert_eq!((0..4).map(|i| train.pixels(i)[0]).collect::<Vec<_>>(), [2, 20, 30, 1]);
        assert_eq!(test.pixels(1), [[4; 16], [5; 16], [6; 16]].concat());
    }

    #[test]
    fn pixels_become_planes_row_by_row() {
        let folder = two_classes();
        let image = RgbImage::from_fn(4, 4, |x, y| Rgb([(x + 4 * y) as u8, 100 + x as u8, 200 + y as u8]));
        save(&folder, "train/cat/a.png", image);
        let train = read(&folder).unwrap().train;
        let expected = (0..16).chain((0..16).map(|i| 100 + i % 4)).chain((0..16).map(|i| 200 + i / 4));
        assert_eq!(train.pixels(0), expected.collect::<Vec<u8>>());
    }

    #[test]
    fn alpha_is_dropped_grey_is_repeated_and_sixteen_bits_are_rounded() {
        let folder = two_classes();
        save(&folder, "train/cat/a.png", RgbaImage::from_pixel(4, 4, Rgba([9, 8, 7, 0])));
        save(&folder, "train/dog/a.png", GrayImage::from_pixel(4, 4, Luma([77])));
        let deep = image::ImageBuffer::from_pixel(4, 4, Rgb([257u16 * 50, 257 * 60, 257 * 70]));
        save(&folder, "train/dog/b.png", DynamicImage::ImageRgb16(deep));
        let train = read(&folder).unwrap().train;
        assert_eq!(train.pixels(0), [[9; 16], [8; 16], [7; 16]].concat());
        assert_eq!(train.pixels(1), [77; 48]);
        assert_eq!(train.pixels(2), [[50; 16], [60; 16], [70; 16]].concat());
    }

    /// Plain colours survive JPEG to within its colour conversion and quantisation.
    #[test]
    fn jpeg_files_are_read() {
        let folder = two_classes();
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 100).encode_image(&plain(4, 4, [200, 40, 90])).unwrap();
        write(&folder, "train/cat/a.png", &bytes);
        fs::rename(folder.path().join("train/cat/a.png"), folder.path().join("train/cat/a.jpg")).unwrap();
        let train = read(&folder).unwrap().train;
        for (plane, expected) in train.pixels(0).chunks(16).zip([200u8, 40, 90]) {
            assert!(plane.iter().all(|v| v.abs_diff(expected) <= 3), "{plane:?} for {expected}");
        }
    }

    /// 12 columns and 8 rows: the middle 8 columns are halved. A ramp in x stays a ramp where the filter
    /// (two columns wide on either side) does not reach over the edge; its values are the means of pairs.
    #[test]
    fn other_sizes_are_cut_around_the_centre_and_resized() {
        let folder = two_classes();
        save(&folder, "train/cat/a.png", RgbImage::from_fn(12, 8, |x, _| Rgb([10 * x as u8, 50, 250])));
        save(&folder, "train/dog/a.png", RgbImage::from_fn(8, 12, |_, y| Rgb([10 * y as u8, 50, 250])));
        let train = read(&folder).unwrap().train;
        for row in 0..4 {
            assert_eq!(train.pixels(0)[4 * row + 1..4 * row + 3], [45, 65]);
        }
        assert_eq!(train.pixels(1)[4..12], [[45; 4], [65; 4]].concat());
        assert_eq!(train.pixels(0)[16..], [[50; 16], [250; 16]].concat());
    }

    #[test]
    fn small_images_are_enlarged() {
        let folder = two_classes();
        save(&folder, "train/cat/a.png", plain(1, 3, [11, 12, 13]));
        assert_eq!(read(&folder).unwrap().train.pixels(0), [[11; 16], [12; 16], [13; 16]].concat());
    }

    #[test]
    fn other_sizes_can_be_refused() {
        let folder = two_classes();
        let options = ImageFolderOptions { size: 4, other_sizes: OtherSizes::Refuse };
        assert!(read_image_folder(folder.path(), options).is_ok());
        save(&folder, "test/cat/a.png", plain(4, 5, [0; 3]));
        let error = read_image_folder(folder.path(), options).unwrap_err().to_string();
        assert!(error.ends_with("test/cat/a.png is 4 x 5 pixels; 4 x 4 is needed"), "{error}");
    }

    #[test]
    fn a_size_out_of_range_is_refused() {
        let folder = two_classes();
        let with_size = |size| read_image_folder(folder.path(), ImageFolderOptions { size, ..OPTIONS });
        assert_eq!(with_size(0).unwrap_err().to_string(), "size = 0, but it has to be at least 1");
        assert_eq!(with_size(8193).unwrap_err().to_string(), "size = 8193 is above the bound of 8192");
    }

    #[test]
    fn a_class_in_one_split_only_is_named() {
        let folder = two_classes();
        save(&folder, "train/eel/a.png", plain(4, 4, [0; 3]));
        assert_eq!(message(&folder), "class \"eel\" is in train and not in test; both need the same classes");
        fs::rename(folder.path().join("train/eel"), folder.path().join("test/ant")).unwrap();
        assert_eq!(message(&folder), "class \"ant\" is in test and not in train; both need the same classes");
    }

    #[test]
    fn missing_and_empty_folders_are_named() {
        let folder = two_classes();
        fs::remove_file(folder.path().join("test/dog/a.png")).unwrap();
        assert_eq!(message(&folder), "test/dog holds no png, jpg or jpeg file");
        fs::remove_dir_all(folder.path().join("test")).unwrap();
        assert_eq!(message(&folder), "test is missing; needed is a folder with one folder a class");
        fs::create_dir(folder.path().join("test")).unwrap();
        assert_eq!(message(&folder), "test holds no class folder");
        let nowhere = folder.path().join("nowhere");
        let error = read_image_folder(&nowhere, OPTIONS).unwrap_err().to_string();
        assert!(error.ends_with("nowhere is missing; needed is the folder of images"), "{error}");
        let file = folder.path().join("train/cat/a.png");
        let error = read_image_folder(&file, OPTIONS).unwrap_err().to_string();
        assert!(error.ends_with("a.png is not a folder"), "{error}");
    }

    #[test]
    fn hidden_entries_are_left_out_and_others_are_refused() {
        let folder = two_classes();
        write(&folder, "train/.hidden", b"x");
        write(&folder, "train/cat/.hidden.png", b"x");
        write(&folder, "test/.hidden/a.png", b"x");
        write(&folder, "notes.txt", b"beside the splits nothing is looked at");
        assert_eq!(read(&folder).unwrap().train.len(), 2);
        write(&folder, "train/notes.txt", b"x");
        assert_eq!(message(&folder), "train/notes.txt is not a folder");
        fs::remove_file(folder.path().join("train/notes.txt")).unwrap();
        write(&folder, "train/cat/notes", b"x");
        assert_eq!(
            message(&folder),
            "train/cat/notes is not called .png, .jpg or .jpeg; other files in a class folder are left out only when hidden"
        );
        fs::remove_file(folder.path().join("train/cat/notes")).unwrap();
        fs::create_dir(folder.path().join("train/cat/b.png")).unwrap();
        assert_eq!(message(&folder), "train/cat/b.png is not a file");
    }

    #[test]
    fn files_that_cannot_be_decoded_are_named() {
        let folder = two_classes();
        let speckled =
            RgbImage::from_fn(64, 64, |x, y| Rgb([(x * x * 7 + y * 31) as u8, ((x * 13) ^ (y * 5)) as u8, 90]));
        let (mut png, mut jpeg) = (Cursor::new(Vec::new()), Cursor::new(Vec::new()));
        speckled.write_to(&mut png, ImageFormat::Png).unwrap();
        speckled.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
        let (png, jpeg) = (png.into_inner(), jpeg.into_inner());
        let cut = |bytes: &[u8], percent: usize| bytes[..bytes.len() * percent / 100].to_vec();
        for content in [b"no image at all".to_vec(), b"GIF89a".to_vec(), cut(&png, 10), cut(&png, 70), cut(&jpeg, 10)] {
            write(&folder, "train/cat/a.png", &content);
            let message = message(&folder);
            assert!(message.starts_with("train/cat/a.png cannot be decoded: "), "{message}");
        }
        // A preview in the header, with the markers of a whole picture, and bytes after the end.
        let preview = [b"\xff\xd8\xff\xe1\0\x06\xff\xda\xff\xd9".as_slice(), &jpeg[2..]].concat();
        for content in [&jpeg, &preview] {
            write(&folder, "train/cat/a.png", &[content.as_slice(), b"\0\0"].concat());
            assert!(read(&folder).is_ok());
            write(&folder, "train/cat/a.png", &cut(content, 70));
            let expected = "train/cat/a.png ends before its picture does: no end-of-image marker follows the last scan";
            assert_eq!(message(&folder), expected);
        }
        // What follows the end is ignored: the video of a phone's photo with marker-like bytes, another picture.
        for tail in [b"\0\0\xff\xda\0\0".as_slice(), b"\xff\xd9", &jpeg[..jpeg.len() / 2], b"\xff"] {
            write(&folder, "train/cat/a.png", &[jpeg.as_slice(), tail].concat());
            assert!(read(&folder).is_ok(), "{tail:?}");
        }
        // A truncated picture is not complete because another one follows it.
        write(&folder, "train/cat/a.png", &[cut(&jpeg, 70), jpeg.clone()].concat());
        assert!(read(&folder).is_err());
        write(&folder, "train/cat/a.png", b"");
        assert_eq!(message(&folder), "train/cat/a.png is empty");
        let file = File::create(folder.path().join("train/cat/a.png")).unwrap();
        file.set_len(MAX_IMAGE_FILE_BYTES + 1).unwrap();
        assert!(message(&folder).starts_with("train/cat/a.png has 67108865 bytes; "));
    }

    /// A picture one column too wide, in both formats, and a header that announces 8192 × 8192 pixels of
    /// 8 bytes, 512 MiB, in a file of 57 bytes.
    #[test]
    fn images_beyond_the_limits_are_not_decoded() {
        let folder = two_classes();
        let refused = |content: &[u8]| {
            write(&folder, "train/cat/a.png", content);
            match read(&folder).unwrap_err() {
                ImageError::Undecodable { source, .. } => matches!(source, image::ImageError::Limits(_)),
                other => panic!("{other}"),
            }
        };
        let wide = plain(MAX_IMAGE_SIDE as u32 + 1, 1, [0; 3]);
        let mut png = Cursor::new(Vec::new());
        wide.write_to(&mut png, ImageFormat::Png).unwrap();
        assert!(refused(png.get_ref()));
        let mut jpeg = Cursor::new(Vec::new());
        wide.write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
        assert!(refused(jpeg.get_ref()));
        let header = [
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x20\0\0\0\x20\0\x10\x06\0\0\0".as_slice(),
            &HEADER_CRC.to_be_bytes(),
            b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82",
        ];
        assert!(refused(&header.concat()));
    }

    const HEADER_CRC: u32 = 0x223a_161a;

    #[cfg(unix)]
    #[test]
    fn links_are_followed_inside_the_folder_only() {
        use std::os::unix::fs::symlink;
        let folder = two_classes();
        let outside = two_classes();
        symlink("a.png", folder.path().join("train/cat/b.png")).unwrap();
        symlink(folder.path().join("train/dog"), folder.path().join("train/wolf")).unwrap();
        symlink("../train/dog", folder.path().join("test/wolf")).unwrap();
        let splits = read(&folder).unwrap();
        assert_eq!(splits.train.labels(), [0, 0, 1, 2]);
        assert_eq!(splits.train.pixels(0), splits.train.pixels(1));
        assert_eq!(splits.test.class_names(), ["cat", "dog", "wolf"]);

        let refused = |link: &str, target: &Path| {
            let path = folder.path().join(link);
            symlink(target, &path).unwrap();
            let error = read(&folder).unwrap_err();
            fs::remove_file(&path).unwrap();
            assert!(matches!(&error, ImageError::LinkLeavesFolder { path: named, .. } if *named == path), "{error}");
        };
        refused("train/cat/c.png", &outside.path().join("train/cat/a.png"));
        refused("train/eel", &outside.path().join("train/cat"));
        let neighbour = PathBuf::from(format!("../../../{}", outside.path().file_name().unwrap().display()));
        refused("train/cat/c.png", &neighbour.join("train/cat/a.png"));
        fs::rename(folder.path().join("test"), folder.path().join(".test")).unwrap();
        refused("test", &outside.path().join("test"));
        fs::rename(folder.path().join(".test"), folder.path().join("test")).unwrap();

        symlink("nowhere.png", folder.path().join("train/cat/c.png")).unwrap();
        assert!(message(&folder).starts_with("train/cat/c.png: "));
        fs::remove_file(folder.path().join("train/cat/c.png")).unwrap();
        assert!(read(&folder).is_ok());
        // The folder itself may be reached by a link.
        let link = outside.path().join("link");
        symlink(folder.path(), &link).unwrap();
        assert_eq!(read_image_folder(&link, OPTIONS).unwrap(), splits);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let folder = two_classes();
        fs::create_dir(folder.path().join("train").join(std::ffi::OsStr::from_bytes(b"\xff"))).unwrap();
        assert!(matches!(read(&folder).unwrap_err(), ImageError::NameNotUtf8 { .. }));
    }
}
