//! Damaged or malicious files: each is rejected by name, at once and within limits.

use crate::entry_points::{self, fetched, listing};
use crate::support::{SMALL, catalog, scratch, small_experiment, top};
use cl_experiments::judge::Expected;
use cl_experiments::run::folder::{MetricsLog, RunFolder};
use cl_experiments::spec::experiment::{Experiment, Extent};
use cl_experiments::tasks::images::dataset;
use cl_experiments::tasks::images::dataset::{Dataset, FolderSpec};
use cl_experiments::tasks::sparse_coding::evaluation::Evaluation;
use cl_experiments::tasks::sparse_coding::snapshot::Snapshot;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tar::{EntryType, Header};

/// Number of single bits that are flipped in each file of the corpus, one at a time.
const BITS: usize = 32;

/// Passes on each file of the corpus as it is, truncated, and with one bit flipped.
fn replay(kind: &str, entry_point: fn(&[u8])) {
    let folder = top().join("tests/corpus").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        let bytes = fs::read(&file).unwrap();
        println!("{}", file.display());
        entry_point(&bytes);
        for eighth in 0..8 {
            println!("the same, {eighth}/8 of it");
            entry_point(&bytes[..bytes.len() * eighth / 8]);
        }
        for bit in 0..BITS.min(8 * bytes.len()) {
            let (mut damaged, place) = (bytes.clone(), bytes.len() * bit / BITS);
            damaged[place] ^= 1 << (bit % 8);
            println!("the same with another bit {} of byte {place}", bit % 8);
            entry_point(&damaged);
        }
    }
}

#[test]
fn the_corpus_of_experiment_files() {
    replay("experiment_file", entry_points::experiment_file);
}

#[test]
fn the_corpus_of_cifar_files() {
    replay("cifar", entry_points::cifar);
}

#[test]
fn the_corpus_of_pictures() {
    replay("image_folder", entry_points::image_folder);
}

#[test]
fn the_corpus_of_checkpoints() {
    replay("checkpoint", entry_points::checkpoint);
}

#[test]
fn the_corpus_of_safetensors_files() {
    replay("safetensors", entry_points::safetensors);
}

#[test]
fn the_corpus_of_run_folders() {
    replay("run_folder", entry_points::run_folder);
}

#[test]
fn the_corpus_of_archives() {
    replay("archive", entry_points::archive);
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

/// Anything slower is doing what it should refuse to do: unpacking or decoding sizes that a header makes up.
const NEVER: Duration = Duration::from_secs(300);

/// The program's message about an archive that it rejects. Nothing of the archive is left behind anywhere.
fn refused(bytes: &[u8]) -> String {
    let home = scratch();
    let begun = Instant::now();
    let text = fetched(home.path(), bytes).expect_err("it is refused").to_string();
    assert!(begun.elapsed() < NEVER, "{:?}: {text}", begun.elapsed());
    assert_eq!(listing(home.path()), ["cache", "cache/small.tar.gz", "cache/small.tar.gz.lock"], "{text}");
    assert_says(&text, &["small.tar.gz"]);
    text
}

fn header(name: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn tar_gz(entries: &[(Header, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (header, data) in entries {
        tar.append(header, *data).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A record of an extended header. Its length counts its own digits.
fn pax(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while length.to_string().len() + rest.len() != length {
        length += 1;
    }
    format!("{length}{rest}")
}

/// An entry whose own header is harmless, after one that says something else about it.
fn with_extension(kind: EntryType, extension: &str) -> Vec<u8> {
    tar_gz(&[
        (header("x", kind, extension.len() as u64), extension.as_bytes()),
        (header("small-bin/one.bin", EntryType::Regular, 4), &b"1234"[..]),
    ])
}

#[test]
fn names_in_extended_headers_are_held_against_the_folder_as_well() {
    let elsewhere = scratch();
    let absolute = elsewhere.path().join("escaped").display().to_string();
    for name in ["../escaped", "small-bin/../../escaped", absolute.as_str()] {
        for archive in [
            with_extension(EntryType::XHeader, &pax("path", name)),
            with_extension(EntryType::GNULongName, &format!("{name}\0")),
        ] {
            assert_says(&refused(&archive), &[name, "leads out of the folder"]);
            entry_points::archive(&archive);
        }
    }
    assert_eq!(listing(elsewhere.path()), [""; 0]);
}

#[test]
fn four_gibibytes_are_refused_wherever_they_are_announced() {
    let in_header = tar_gz(&[(header("small-bin/one.bin", EntryType::Regular, 4 << 30), &b"1234"[..])]);
    let in_extension = with_extension(EntryType::XHeader, &pax("size", "4294967296"));
    for archive in [in_header, in_extension] {
        assert_says(&refused(&archive), &["small-bin/one.bin", "has 4294967296 bytes where 4 are the most"]);
    }
}

/// 256 MiB of zeros as the name of a file, from about 1 MiB.
#[test]
fn an_archive_that_swells_is_left_after_a_mebibyte() {
    let zeros = 256 << 20;
    let mut compressed = GzEncoder::new(Vec::new(), Compression::fast());
    compressed.write_all(header("x", EntryType::GNULongName, zeros).as_bytes()).unwrap();
    io::copy(&mut io::repeat(0).take(zeros), &mut compressed).unwrap();
    let archive = compressed.finish().unwrap();
    assert!(archive.len() < 8 << 20, "{} bytes", archive.len());
    assert_says(&refused(&archive), &["swells to more than"]);
}

/// The error of a run folder about its weights.
fn weights(bytes: &[u8]) -> String {
    let scratch = scratch();
    let file = scratch.path().join("weights.safetensors");
    fs::write(&file, bytes).unwrap();
    let text = RunFolder::at(scratch.path()).weights().unwrap_err().to_string();
    assert_says(&text, &[file.to_str().unwrap()]);
    entry_points::safetensors(bytes);
    text
}

fn with_header(header: &[u8], data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header, &vec![0u8; data]].concat()
}

#[test]
fn safetensors_that_promise_what_is_not_there_are_named() {
    for length in [3u64, 4 << 30, 1 << 63, u64::MAX] {
        let bytes = [&u64::to_le_bytes(length)[..], b"{}"].concat();
        assert_says(&weights(&bytes), &["it is not a whole safetensors file"]);
    }
    let tensor = |shape: &str, range: &str| format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":{range}}}"#);
    let cases = [
        ("[9223372036854775808,2]", "[0,8]"),
        ("[4294967296,4294967296]", "[0,16]"),
        ("[18446744073709551615]", "[0,16]"),
        ("[1073741824,4]", "[0,16]"),
        ("[-2,-2]", "[0,16]"),
        ("[2,2]", "[16,0]"),
        ("[2,2]", "[0,17179869184]"),
        ("[2,2]", "[4,20]"),
        ("[2,2]", "[18446744073709551600,18446744073709551616]"),
    ];
    for (shape, range) in cases {
        let header = format!(r#"{{"weights":{}}}"#, tensor(shape, range));
        assert_says(&weights(&with_header(header.as_bytes(), 16)), &["it is not a whole safetensors file"]);
    }
    let overlapping = format!(r#"{{"biases":{},"weights":{}}}"#, tensor("[4]", "[0,16]"), tensor("[2,2]", "[8,24]"));
    for header in [overlapping, format!(r#"{{"weights":{}"#, "[".repeat(10_000)), "[".repeat(10_000)] {
        assert_says(&weights(&with_header(header.as_bytes(), 24)), &["it is not a whole safetensors file"]);
    }
    assert_says(&weights(&with_header(b"\xff\xff", 0)), &["it is not a whole safetensors file"]);
}

#[test]
fn safetensors_of_another_shape_or_type_are_named() {
    for (dtype, shape, data, words) in [
        ("F32", "[4]", 16, "weights have shape [4] instead of [m, d1]"),
        ("F32", "[4,0]", 0, "weights have shape [4, 0] instead of [m, d1]"),
        ("F32", "[1,2,2]", 16, "weights have shape [1, 2, 2] instead of [m, d1]"),
        ("F16", "[2,2]", 8, "instead of F32"),
        ("I64", "[2,2]", 32, "instead of F32"),
    ] {
        let header = format!(r#"{{"weights":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{data}]}}}}"#);
        assert_says(&weights(&with_header(header.as_bytes(), data)), &[words]);
    }
}

/// The error that prevents training on a set below `folder`.
fn images(dataset: &Dataset, folder: &Path) -> String {
    dataset::load(dataset, None, Some(folder)).unwrap_err().to_string()
}

/// The reader's own tests cover the rest; here, whoever trains is told which file it is.
#[test]
fn damaged_records_are_named_to_who_trains_on_them() {
    let record = [&[9u8][..], &[7u8; 3072]].concat();
    let wrong_label = [&[10u8][..], &[7u8; 3072]].concat();
    for (bytes, words) in [
        (&wrong_label[..], "has label 10 at byte 0"),
        (&record[..0], "is empty"),
        (&record[1..], "3072 bytes left over"),
    ] {
        for (damaged, whole) in [("data_batch_1.bin", "test_batch.bin"), ("test_batch.bin", "data_batch_1.bin")] {
            let folder = scratch();
            fs::write(folder.path().join(damaged), bytes).unwrap();
            fs::write(folder.path().join(whole), &record).unwrap();
            let text = images(&Dataset::Cifar10, folder.path());
            assert_says(&text, &[folder.path().join(damaged).to_str().unwrap(), words]);
        }
    }
}

#[test]
fn a_list_of_class_names_with_one_name_twice_is_named() {
    entry_points::cifar("one name\n".repeat(10).as_bytes());
}

fn png(side: u32) -> Vec<u8> {
    let chunk = |content: &[u8]| {
        let mut crc = Crc::new();
        crc.update(content);
        [&(content.len() as u32 - 4).to_be_bytes()[..], content, &crc.sum().to_be_bytes()].concat()
    };
    let size = [side.to_be_bytes(), side.to_be_bytes()].concat();
    let header = [&b"IHDR"[..], &size, &[8u8, 2, 0, 0, 0]].concat();
    // Ten bytes of compressed data that do not end.
    let data = [&b"IDAT"[..], b"\x78\x9c\xed\xc1\x01\x01\x00\x00\x00\x80"].concat();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(&header), &chunk(&data), &chunk(b"IEND")].concat()
}

fn jpeg(side: u16) -> Vec<u8> {
    let size = [side.to_be_bytes(), side.to_be_bytes()].concat();
    let frame = [&b"\xff\xc0\x00\x0b\x08"[..], &size, b"\x01\x01\x11\x00"].concat();
    [&b"\xff\xd8"[..], &frame, b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x3f\xff\xd9"].concat()
}

/// 60,000 × 60,000 pixels in files of less than 100 bytes.
#[test]
fn pictures_that_are_large_in_their_header_are_refused_at_once() {
    for bytes in [png(60_000), png(u32::MAX), jpeg(60_000)] {
        let (folder, begun) = (scratch(), Instant::now());
        for class in ["train/a", "test/a"] {
            fs::create_dir_all(folder.path().join(class)).unwrap();
            fs::write(folder.path().join(class).join("x.png"), &bytes).unwrap();
        }
        let text = images(&Dataset::Folder(FolderSpec { size: 8 }), folder.path());
        assert_says(&text, &[folder.path().join("train/a/x.png").to_str().unwrap(), "cannot be decoded"]);
        assert!(begun.elapsed() < NEVER, "{:?}", begun.elapsed());
    }
}

/// Both files of an experiment with this text in them are rejected and named.
fn assert_refused(text: &str) {
    let scratch = scratch();
    let folder = scratch.path().join("fuzzed");
    fs::create_dir(&folder).unwrap();
    let files = ["experiment.toml", "expected.toml"].map(|name| folder.join(name));
    files.iter().for_each(|file| fs::write(file, text).unwrap());
    let errors = [
        Experiment::load(&folder, Extent::Full, catalog().parts()).unwrap_err().to_string(),
        Expected::load(&folder).unwrap_err().to_string(),
    ];
    for (error, file) in errors.iter().zip(&files) {
        assert_says(error, &[file.to_str().unwrap()]);
    }
}

#[test]
fn nesting_without_end_in_an_experiment_is_refused() {
    let levels = 10_000;
    for text in [
        "[".repeat(levels),
        format!("a = {}", "[".repeat(levels)),
        format!("a = {}{}", "[".repeat(levels), "]".repeat(levels)),
        format!("a = {}", "{ a = ".repeat(levels)),
        format!("{}a = 1", "a.".repeat(levels)),
        format!("[{}a]", "a.".repeat(levels)),
        format!("[[{}a]]", "a.".repeat(levels)),
        format!("a = {}", "\"".repeat(levels)),
    ] {
        assert_refused(&text);
    }
}

/// The program rejects an experiment in its own process: a stack overflow or running out of memory would take this one
/// down with it.
#[cfg(target_os = "linux")]
fn assert_the_program_refuses(text: &str) {
    let scratch = scratch();
    let experiment = scratch.path().join("fuzzed");
    fs::create_dir(&experiment).unwrap();
    fs::write(experiment.join("experiment.toml"), text).unwrap();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 4194304; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_cl-experiments"), "train"])
        .arg(&experiment)
        .arg("--no-tui")
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(scratch.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let end: String = text.chars().rev().take(500).collect::<Vec<_>>().into_iter().rev().collect();
    assert_eq!(output.status.code(), Some(2), "{}: {end}", output.status);
    assert!(!text.contains("panicked"), "{end}");
    assert_says(&text, &[experiment.join("experiment.toml").to_str().unwrap()]);
}

/// The small experiment with an additional grid.
fn with_grid(grid: &str) -> String {
    format!("{}\n[grids.many]\nseeds = [1]\n{grid}", SMALL.replace("claim = \"small\"", "claim = \"fuzzed\""))
}

/// The parser limits levels of brackets and parts of a dotted key separately, to 80 each.
#[cfg(target_os = "linux")]
#[test]
fn tables_that_nest_through_dotted_keys_are_refused() {
    let key = format!("{}a = ", "a.".repeat(78));
    let nested = format!("{}1{}", format!("{{ {key}").repeat(75), " }".repeat(75));
    assert_the_program_refuses(&with_grid(&format!("overrides = {{ data = {nested} }}\naxes = []\n")));
    assert_the_program_refuses(&format!("{key}{nested}\n"));
}

#[cfg(target_os = "linux")]
#[test]
fn an_axis_whose_key_nests_without_end_is_refused() {
    let key = format!("{}a", "a.".repeat(1_000_000));
    assert_the_program_refuses(&with_grid(&format!("[[grids.many.axes]]\nkey = \"{key}\"\nvalues = [1]\n")));
}

/// 20^8 points.
#[cfg(target_os = "linux")]
#[test]
fn a_grid_of_more_points_than_memory_holds_is_refused() {
    let values: Vec<String> = (1..=20).map(|value| value.to_string()).collect();
    let axis = |k: usize| format!("[[grids.many.axes]]\nkey = \"data.x{k}\"\nvalues = [{}]\n", values.join(", "));
    assert_the_program_refuses(&with_grid(&(0..8).map(axis).collect::<String>()));
}

/// A run is stored in a folder that has the name of its point.
#[test]
fn a_point_whose_run_would_stand_elsewhere_is_refused() {
    let scratch = scratch();
    for name in ["../../escaped", "/escaped", "a/b"] {
        let renamed = format!("points.\"{name}\"");
        let experiment = small_experiment(scratch.path(), ("points.masked", renamed.as_str()));
        let error = Experiment::load(&experiment, Extent::Full, catalog().parts()).expect_err(name).to_string();
        assert_says(&error, &[experiment.join("experiment.toml").to_str().unwrap(), name]);
    }
}

/// A line of the metrics.
const LINE: &str = concat!(
    r#"{"step":1,"learning_rate":0.5,"loss":1.0,"largest_similarity":null,"energy_in_span":0.5,"coverage_mean":0.5,"#,
    r#""coverage_min":0.25,"features_with_singleton":1,"singleton_fraction":0.5,"norm_in_span":1.0,"norm_complement":1.0,"#,
    r#""threshold_ratio":0.0,"active_fraction":1.0,"correlation_sparse":0.5,"correlation_dense":0.5,"#,
    r#""probe_r_squared":0.5,"neuron_energies":[0.5,0.5]}"#,
    "\n"
);

/// The error of the second line of the metrics; a resumed run drops it.
fn second_line(line: &[u8]) -> String {
    let scratch = scratch();
    let (file, folder) = (scratch.path().join("metrics.jsonl"), RunFolder::at(scratch.path()));
    fs::write(&file, [LINE.as_bytes(), line].concat()).unwrap();
    let error = folder.snapshots::<Snapshot>().unwrap_err().to_string();
    assert_says(&error, &[file.to_str().unwrap()]);
    drop(MetricsLog::resume::<Snapshot>(&folder, 1).unwrap());
    assert!(fs::read(&file).unwrap() == LINE.as_bytes(), "the line is kept");
    error
}

#[test]
fn a_line_of_10_mb_in_the_metrics_is_named_by_number() {
    let long = 10_000_000;
    for line in ["x".repeat(long), "[".repeat(long), format!("{{\"step\":{}", "1".repeat(long))] {
        let error = second_line(format!("{line}\n").as_bytes());
        assert_says(&error, &["line 2"]);
        assert!(error.len() < 1000, "the error has {} bytes", error.len());
    }
}

#[test]
fn metrics_that_are_no_text_are_dropped_as_well() {
    second_line(b"{\"step\":\xff\xfe}\n");
    second_line(b"\xc3");
}

#[test]
fn nesting_without_end_in_the_files_of_a_run_is_refused() {
    let levels = 10_000;
    let deep = "[".repeat(levels);
    for text in [
        deep.clone(),
        format!("{deep}{}", "]".repeat(levels)),
        format!("{{\"features\":{deep}"),
        format!("{{\"unknown\":{deep}{}}}", "]".repeat(levels)),
        "{\"features\":".repeat(levels),
        "{\"spec\":{\"training\":".repeat(levels),
    ] {
        let scratch = scratch();
        let folder = RunFolder::at(scratch.path());
        for name in ["spec.json", "evaluation.json", "manifest.json", "moments.json"] {
            fs::write(scratch.path().join(name), &text).unwrap();
        }
        let errors = [
            ("spec.json", folder.spec(catalog().parts()).map(drop)),
            ("evaluation.json", folder.evaluation::<Evaluation>().map(drop)),
            ("manifest.json", folder.manifest().map(drop)),
            ("moments.json", folder.moments().map(drop)),
        ];
        for (name, error) in errors {
            let error = error.expect_err(name).to_string();
            assert_says(&error, &[scratch.path().join(name).to_str().unwrap(), "it is not what this version writes"]);
            assert!(error.len() < 1000, "the error has {} bytes", error.len());
        }
    }
}

/// Head of a value in CBOR: its major type and its number.
fn cbor(major: u8, number: u64) -> Vec<u8> {
    [&[(major << 5) | 27][..], &number.to_be_bytes()].concat()
}

fn cbor_text(text: &str) -> Vec<u8> {
    [cbor(3, text.len() as u64), text.as_bytes().to_vec()].concat()
}

fn cbor_list(numbers: &[u64]) -> Vec<u8> {
    let mut bytes = cbor(4, numbers.len() as u64);
    numbers.iter().for_each(|number| bytes.extend(cbor(0, *number)));
    bytes
}

fn cbor_map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = cbor(5, entries.len() as u64);
    for (key, value) in entries {
        bytes.extend(cbor_text(key));
        bytes.extend_from_slice(value);
    }
    bytes
}

/// How Burn's files describe a tensor.
fn tensor(dtype: &str, shape: &[u64], bytes: [u64; 2], parameter: Option<u64>) -> Vec<u8> {
    let mut entries =
        vec![("dtype", cbor_text(dtype)), ("shape", cbor_list(shape)), ("data_offsets", cbor_list(&bytes))];
    entries.extend(parameter.map(|id| ("param_id", cbor(0, id))));
    cbor_map(&entries)
}

/// A file in Burn's format: ten bytes, its contents in CBOR, and the tensors from the next multiple of 256 on.
fn burnpack(entries: &[(&str, Vec<u8>)], tensors: &[u8]) -> Vec<u8> {
    let entries = cbor_map(entries);
    let mut bytes = [&b"NRUB\x01\x00"[..], &(entries.len() as u32).to_le_bytes(), &entries].concat();
    bytes.resize(bytes.len().next_multiple_of(256), 0);
    bytes.extend_from_slice(tensors);
    bytes
}

/// The right shapes in another type: training would continue with numbers that the closed form does not accept.
#[test]
fn weights_in_double_precision_are_cast_or_passed_over() {
    let tensors = [
        ("model.encoder.biases", tensor("F32", &[2], [0, 8], Some(1))),
        ("model.encoder.weights", tensor("F64", &[2, 4], [256, 320], Some(2))),
    ];
    let values = [vec![0u8; 256], 0.5f64.to_le_bytes().repeat(8)].concat();
    entry_points::checkpoint(&burnpack(&[("tensors", cbor_map(&tensors))], &values));
}

/// Burn's optimizer panics on each of these.
#[test]
fn an_optimizer_that_does_not_fit_is_passed_over() {
    let rank = |rank: u64| cbor_map(&[("7.__rank", cbor_map(&[("UInt", cbor(0, rank))]))]);
    let velocity = |parameter| cbor_map(&[("7.momentum.velocity", tensor("F32", &[2, 4], [0, 32], parameter))]);
    for (tensors, rank) in [
        (velocity(None), rank(2)),
        (velocity(Some(7)), rank(1)),
        (velocity(Some(7)), rank(9)),
        (cbor_map(&[]), rank(u64::MAX)),
    ] {
        entry_points::checkpoint(&burnpack(&[("tensors", tensors), ("scalars", rank)], &[0; 32]));
    }
}
