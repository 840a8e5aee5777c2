use crate::support::{binary, scratch, small_experiment};

/// The error caused by a changed line of the small experiment, without the folder's name.
fn error_of(replace: (&str, &str)) -> String {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), replace);
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap(), "--no-tui"]);
    assert_eq!(output.status.code(), Some(2), "{replace:?}: {}", String::from_utf8_lossy(&output.stdout));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains("panicked"), "{text}");
    text.replace(folder.path().to_str().unwrap(), "FOLDER")
}

#[test]
fn wrong_values_are_named_with_file_key_and_what_would_be_right() {
    let decay = "exponential_decay = { first = 0.5, decay_from = 30, decay_to = 60, last = 0.1 }";
    let cases = [
        ("code_dim = 6", "code_dim = 60"),
        ("code_dim = 6", "code_dim = 6\nsparse_code = { bernoulli = { nonzero_probability = 1.5 } }"),
        ("code_dim = 6", "code_dim = 6\nnoise_std = nan"),
        ("code_dim = 6", "code_dim = 6\ncolour = 3"),
        ("code_dim = 6", "code_dim = \"six\""),
        ("keep_probability = 0.5", "keep_probability = 1.0"),
        ("masked_fraction = 1.0", "masked_fraction = -0.1"),
        ("batch_size = 32", "batch_size = 0"),
        ("snapshot_every = 10", "snapshot_every = 7"),
        ("temperature = 1.0", "temperature = 0.0"),
        ("cap_ratio = 0.6", "cap_ratio = 0.1"),
        ("count = 24", "count = 0"),
        ("similarity = \"inner_product\"", "similarity = \"euclidean\""),
        ("weight_decay = 0.01", "weight_decay = inf"),
        ("steps = 60", "steps = -60"),
        ("decay_to = 60", "decay_to = 30"),
        (decay, "warmup_cosine = { peak = 0.5, warmup = 60 }"),
        (decay, "warmup_cosine = { peak = 0.0, warmup = 5 }"),
        ("masked.objective.info_nce", "masked.objective.info_mce"),
        ("encoder.symmetric_relu", "encoder.my_net"),
        ("data.sparse_coding", "data.sparse_codes"),
        ("num_neurons = 10", "num_neurons = 0"),
        ("steps = 60", "steps = 60\nepochs = 3"),
        ("steps = 60", "epochs = 60"),
        (
            "transform = [{",
            "transform = [{ independent_masks = { keep_probability = 0.5, masked_fraction = 1.0, rescaling = \"off\" } }, {",
        ),
        ("seeds = [1]", "seeds = [1"),
    ];
    let text: String = cases
        .iter()
        .map(|case| format!("# {} -> {}\n{}\n", case.0, case.1.replace('\n', "; "), error_of(*case)))
        .collect();
    insta::assert_snapshot!(text);
}

#[test]
fn wrong_arguments_are_named_with_what_would_be_right() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    let experiments = folder.path().to_str().unwrap();
    let experiment = experiment.to_str().unwrap();
    std::fs::write(folder.path().join("taken"), b"").unwrap();
    let cases: [&[&str]; 7] = [
        &["reproduce", "smal", "--experiments", experiments],
        &["reproduce", "--experiments", "nowhere"],
        &["train", experiment, "--point", "unmasked"],
        &["train", experiment, "--device", "abacus"],
        &["train", experiment, "--device", "cuda:one"],
        &["train", "nowhere"],
        &["data", "export", experiment, "--output", "taken"],
    ];
    let mut text = String::new();
    for arguments in cases {
        let output = binary(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        text.push_str(&format!("# {}\n{}\n", arguments.join(" "), String::from_utf8_lossy(&output.stderr)));
    }
    insta::assert_snapshot!(text.replace(experiments, "FOLDER"));
}

#[test]
fn a_backend_that_is_not_compiled_in_names_its_feature() {
    if cl_experiments::io::device::is_compiled("cuda") {
        return;
    }
    let error = cl_experiments::io::device::open("cuda:1").unwrap_err().to_string();
    assert!(error.contains("--features cuda"), "{error}");
}

#[test]
fn devices_lists_what_this_binary_can_use() {
    let folder = scratch();
    let text = String::from_utf8(binary(folder.path(), &["devices"]).stdout).unwrap();
    assert!(text.lines().any(|line| line.starts_with("flex") && line.contains("ready")), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
}

/// Root bypasses permissions, so the test uses a place where no folder can exist: below a file.
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = scratch();
    let experiment = small_experiment(folder.path(), ("seeds = [1]", "seeds = [1]"));
    std::fs::write(folder.path().join("file"), b"").unwrap();
    let output = binary(folder.path(), &["train", experiment.to_str().unwrap(), "--no-tui", "--runs", "file/runs"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("file/runs") && text.contains("cannot be made"), "{text}");
}

#[test]
fn a_file_that_cannot_be_written_is_named_and_nothing_is_left_behind() {
    let folder = scratch();
    let path = folder.path().join("missing").join("out");
    let error = cl_experiments::io::files::write_whole(&path, b"x").unwrap_err().to_string();
    assert!(error.contains("out: it cannot be written"), "{error}");
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    assert!(cl_experiments::io::files::write_whole(&folder.path().join("taken"), b"x").is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what was staged is removed");
}
