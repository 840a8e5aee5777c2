//! Runs on sentences: resumed bit by bit in the middle of a queue, on generated and on real text, refused where something is of no use.

use crate::support::{catalog, run_spec, run_spec_on, scratch};
use cl_experiments::run::folder::RunFolder;
use cl_experiments::run::headless::Outcome;
use cl_experiments::spec::RunSpec;
use cl_experiments::tasks::text::evaluation::TextEvaluation;
use cl_experiments::tasks::text::spec::TextSpec;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub const SMALL: &str = r#"
objective.info_nce = { similarity = "cosine", key_gradient = "stopped", temperature = 0.1, scale = "one" }

[data.text.source.topic_language]
topics = 3
concepts = 2
synonyms = 2
style_words = 12
style_dim = 2
topic_tokens = 4
style_tokens = 4

[views]
transform = [
    { replace_synonyms = { probability = 1.0 } },
    { restyle = { style = "new" } },
    { drop_tokens = { probability = 0.2 } },
    { local_reordering = { distance = 2.0 } },
]

[model]
encoder.mean_pool = { embedding_dim = 8, layer_dims = [8] }
projector = { hidden_dims = [8], output_dim = 4 }
momentum_copy = { momentum = 0.9 }
queue = { size = 64 }

[optimization]
steps = 60
batch_size = 16
optimizer = { adamw = { beta_1 = 0.9, beta_2 = 0.999, epsilon = 1e-8, weight_decay = 0.0 } }
learning_rate = { constant = { rate = 0.01 } }
snapshot_every = 10

[evaluation]
language = { samples = 64, test_sentences = 40 }
budgets = [{ labels = 12, steps = 20 }, { labels = 24, steps = 20 }]
fine_tuning_rate = 0.01
fine_tuning_batch = 16
"#;

/// A small run with some text replaced.
fn read(replace: &[(&str, &str)]) -> Result<RunSpec, String> {
    let mut text = SMALL.to_string();
    for (from, to) in replace {
        assert!(text.contains(from), "{from:?}");
        text = text.replace(from, to);
    }
    RunSpec::from_table(toml::from_str(&text).unwrap(), catalog().parts()).map_err(|e| e.to_string())
}

fn finished(spec: &RunSpec, stop_at: Option<u64>) -> Vec<Vec<u8>> {
    let runs = scratch();
    let folder = RunFolder::at(runs.path().join("run"));
    if let Some(at) = stop_at {
        let stop = AtomicBool::new(false);
        let outcome = run_spec(spec, 3, &folder, &stop, &mut |done| stop.store(done >= at, Ordering::Relaxed));
        assert_eq!(outcome.unwrap(), Outcome::Stopped { step: at, resumes_at: at });
    }
    assert_eq!(run_spec(spec, 3, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap(), Outcome::Finished);
    let files = [
        "metrics.jsonl",
        "evaluation.json",
        "neighbors.json",
        "model.safetensors",
        "untrained.safetensors",
        "text.safetensors",
    ];
    files.map(|name| std::fs::read(folder.path().join(name)).expect(name)).into()
}

const QUEUE: &str = "momentum_copy = { momentum = 0.9 }\nqueue = { size = 64 }";
const INFO_NCE: &str =
    r#"objective.info_nce = { similarity = "cosine", key_gradient = "stopped", temperature = 0.1, scale = "one" }"#;

#[test]
fn a_stopped_run_goes_on_bit_by_bit() {
    let masked = [
        (INFO_NCE, "objective = \"masked_tokens\""),
        ("projector = { hidden_dims = [8], output_dim = 4 }\n", ""),
        (QUEUE, ""),
        (
            "    { replace_synonyms = { probability = 1.0 } },\n",
            "    { complementary_split = { keep_probability = 0.8 } },\n",
        ),
    ];
    let block = [(
        "encoder.mean_pool = { embedding_dim = 8, layer_dims = [8] }",
        "encoder.transformer = { embedding_dim = 8, blocks = 1, heads = 2, feed_forward_dim = 8 }",
    )];
    // A queue of four batches is half filled anew at step 30.
    for with in [&[][..], &masked, &block] {
        let spec = read(with).unwrap();
        assert!(finished(&spec, Some(30)) == finished(&spec, None), "{with:?}");
    }
}

/// Views of different sentences, masks of other sentences and queues without keys are what they say.
#[test]
fn mistakes_change_what_is_learned() {
    let plain = finished(&read(&[]).unwrap(), None);
    for with in [
        ("[views]", "[views]\npartner = \"next\""),
        ("[views]", "[views]\nsecond_mask = \"next\""),
        ("queue = { size = 64 }", "queue = { size = 64, filling = \"nothing\" }"),
        ("queue = { size = 64 }", "queue = { size = 64, filling.constant = 0.1 }"),
        ("style = \"new\"", "style = \"same\""),
    ] {
        let changed = finished(&read(&[with]).unwrap(), None);
        assert!(plain[3] != changed[3], "{with:?}");
        assert!(plain[5] == changed[5], "{with:?}: sentences with labels are the same");
    }
}

/// Labels of other sentences teach nothing; labels are the same for trained and untrained encoders.
#[test]
fn shuffled_labels_teach_nothing() {
    let longer = (
        "budgets = [{ labels = 12, steps = 20 }, { labels = 24, steps = 20 }]",
        "budgets = [{ labels = 300, steps = 300 }]",
    );
    let tests = ("test_sentences = 40", "test_sentences = 600");
    let score = |with: &[(&str, &str)]| -> TextEvaluation {
        serde_json::from_slice(&finished(&read(with).unwrap(), None)[1]).unwrap()
    };
    let right = score(&[longer, tests]).labels[&300];
    let shuffled =
        score(&[longer, tests, ("fine_tuning_batch = 16", "fine_tuning_batch = 16\nshuffled_labels = true")]).labels
            [&300];
    assert!(right.fine_tuned > 0.6 && right.scratch > 0.6, "{right:?}");
    assert!(shuffled.fine_tuned < 0.5 && shuffled.scratch < 0.5, "{shuffled:?}");
}

#[test]
fn wrong_values_are_refused_by_key() {
    for (replace, expected) in [
        (("topics = 3", "topics = 1"), "data.text.source.topic_language.topics = 1 is out of range"),
        (("topics = 3", "colours = 3"), "colours"),
        (
            ("drop_tokens = { probability = 0.2 }", "drop_tokens = { probability = 1.0 }"),
            "views.transform[2].drop_tokens.probability = 1 is out of range",
        ),
        (("restyle = { style = \"new\" }", "blur = {}"), "views.transform[1]"),
        (("layer_dims = [8]", "layer_dims = [0]"), "model.encoder.mean_pool.layer_dims[0] = 0 is out of range"),
        (
            ("encoder.mean_pool = { embedding_dim = 8, layer_dims = [8] }", "encoder.mlp = { layer_dims = [8] }"),
            "mean_pool",
        ),
        (
            ("queue = { size = 64 }", "queue = { size = 60 }"),
            "model.queue.size = 60 is out of range; it has to be a multiple of optimization.batch_size = 16",
        ),
        (
            ("language = { samples = 64, test_sentences = 40 }\n", ""),
            "evaluation.language = nothing is out of range; it has to be given",
        ),
        (
            ("budgets = [{ labels = 12, steps = 20 }, { labels = 24, steps = 20 }]", "budgets = []"),
            "evaluation.budgets = [] is out of range",
        ),
        (("labels = 12, steps = 20", "labels = 12, steps = 0"), "evaluation.budgets[0].steps = 0 is out of range"),
        (
            ("labels = 24", "labels = 12"),
            "evaluation.budgets[1].labels = 12 is out of range; it has to be more than 12",
        ),
        (("labels = 12", "labels = 7"), "evaluation.budgets[0].labels = 7 is out of range"),
        (("samples = 64", "samples = 15"), "evaluation.language.samples = 15 is out of range"),
        (("fine_tuning_rate = 0.01", "fine_tuning_rate = 0.0"), "evaluation.fine_tuning_rate = 0 is out of range"),
        (("steps = 60", "epochs = 60"), "optimization.epochs = 60 is out of range"),
        ((INFO_NCE, "objective.masked_reconstruction = { scale = 1.0 }"), "model.queue"),
        ((QUEUE, ""), "projector"),
    ] {
        // The last one is right by itself; with an objective that predicts words it is not.
        let with: Vec<(&str, &str)> =
            if replace.0 == QUEUE { vec![replace, (INFO_NCE, "objective = \"masked_tokens\"")] } else { vec![replace] };
        let found = read(&with).unwrap_err();
        assert!(found.contains(expected), "{found}");
    }
}

/// A tokenizer instead of words: needs the feature, which says so.
#[test]
fn a_tokenizer_takes_the_place_of_counted_words() {
    let with = |words: &str| {
        let files = format!("[data.text.source.split_files]\n{words}\nlongest = 7");
        read(&[
            (generated(), &files),
            ("    { replace_synonyms = { probability = 1.0 } },\n    { restyle = { style = \"new\" } },\n", ""),
            ("language = { samples = 64, test_sentences = 40 }\n", ""),
        ])
    };
    let wrong = |words: &str| with(words).unwrap_err();
    let key = "data.text.source.split_files.least_count";
    assert!(wrong("").contains(&format!("{key} = nothing is out of range; it has to be given, or a tokenizer")));
    assert!(wrong("least_count = 0").contains(&format!("{key} = 0")));
    assert!(wrong("least_count = 2\ntokenizer = \"t.json\"").contains("left out where a tokenizer is given"));
    if !cfg!(feature = "tokenizers") {
        assert!(wrong("tokenizer = \"t.json\"").contains("built without the feature tokenizers"));
        return;
    }
    let text = scratch();
    corpus(text.path());
    let path = text.path().join("tokenizer.json");
    let vocabulary = r#"{"?": 0, "rain": 1, "song": 2, "in": 3, "of": 4}"#;
    let json = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "?", "vocab": VOCABULARY}}"#;
    std::fs::write(&path, json.replace("VOCABULARY", vocabulary)).unwrap();
    let spec = with(&format!("tokenizer = {path:?}")).unwrap().pinned(Some(text.path())).unwrap();
    let content = spec.get::<TextSpec>().unwrap().data.content.clone().unwrap();
    assert_eq!((content.vocabulary, content.longest, content.tokenizer.map(|t| t.len())), (5, 7, Some(64)));
}

/// Numbers of pieces may leave gaps, and what is no tokenizer is refused by its file.
#[cfg(feature = "tokenizers")]
#[test]
fn a_tokenizer_splits_words_into_pieces() {
    use cl_data::tokens::PretrainedTokenizer;
    let folder = scratch();
    let path = folder.path().join("tokenizer.json");
    let json = r###"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "play": 1, "##ing": 2, "song": 9}}}"###;
    std::fs::write(&path, json).unwrap();
    let tokenizer = PretrainedTokenizer::read(&path).unwrap();
    assert_eq!((tokenizer.len(), tokenizer.encode("Playing song now").unwrap()), (10, vec![1, 2, 9, 0]));
    std::fs::write(&path, "{}").unwrap();
    let message = PretrainedTokenizer::read(&path).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json: it is no tokenizer.json"), "{message}");
    let message = PretrainedTokenizer::read(Path::new("/nowhere/t.json")).unwrap_err().to_string();
    assert!(message.contains("/nowhere/t.json"), "{message}");
}

/// A folder with a few sentences of two classes.
fn corpus(folder: &Path) {
    let rows = |from: usize, count: usize| -> String {
        (from..from + count)
            .map(|i| match i % 2 {
                0 => format!("weather\twill it rain on day {} in town {}\n", i % 7, i % 5),
                _ => format!("music\tplease play song {} of band {}\n", i % 6, i % 4),
            })
            .collect()
    };
    std::fs::write(folder.join("train.tsv"), rows(0, 80)).unwrap();
    std::fs::write(folder.join("test.tsv"), rows(1000, 30)).unwrap();
}

/// The section that chooses the generated language.
fn generated() -> &'static str {
    let from = SMALL.find("[data.text").expect("a section");
    &SMALL[from..from + SMALL[from..].find("\n\n").expect("its end")]
}

#[test]
fn real_text_is_read_pinned_and_told() {
    let text = scratch();
    corpus(text.path());
    let files = (generated(), "[data.text.source.split_files]\nleast_count = 1\nlongest = 7");
    let known = [
        files,
        ("    { replace_synonyms = { probability = 1.0 } },\n    { restyle = { style = \"new\" } },\n", ""),
        ("steps = 60", "epochs = 12"),
        ("snapshot_every = 10", "snapshot_every = 6"),
        ("language = { samples = 64, test_sentences = 40 }\n", ""),
    ];
    let found = read(&known[..1]).unwrap_err();
    assert!(found.contains("views.transform[0] = replace_synonyms") && found.contains("needs no language"), "{found}");

    let spec = read(&known).unwrap();
    let missing = spec.pinned(None).unwrap_err().to_string();
    assert!(missing.contains("give --data-dir with train.tsv and test.tsv in it"), "{missing}");
    let pinned = spec.pinned(Some(text.path())).unwrap();
    let content = pinned.get::<TextSpec>().unwrap().data.content.clone().unwrap();
    assert_eq!((content.train, content.test, content.classes, content.longest), (80, 30, 2, 7));
    assert_eq!(pinned.steps(), 60, "five batches an epoch");

    let runs = scratch();
    let folder = RunFolder::at(runs.path().join("run"));
    run_spec_on((&pinned, Some(text.path())), 3, &folder, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let evaluation: TextEvaluation = folder.evaluation().unwrap();
    assert!(evaluation.language.is_none());
    assert!(evaluation.labels[&24].fine_tuned > 0.9, "{evaluation:?}");
    assert!(folder.neighbors().unwrap()[0].sentence.contains("rain"));

    // Words that are all too rare leave nothing to learn from.
    let rare = (files.0, "[data.text.source.split_files]\nleast_count = 1000\nlongest = 7");
    let none = read(&[&[rare], &known[1..]].concat()).unwrap().pinned(Some(text.path())).unwrap_err().to_string();
    assert!(none.contains("known words = 1 is out of range"), "{none}");

    // Other sentences under the same specification are another text.
    std::fs::write(text.path().join("test.tsv"), "music\tno\nweather\tyes\n").unwrap();
    let other = scratch();
    std::fs::copy(text.path().join("train.tsv"), other.path().join("train.tsv")).unwrap();
    std::fs::copy(text.path().join("test.tsv"), other.path().join("test.tsv")).unwrap();
    let refused = pinned.pinned(Some(other.path())).unwrap_err().to_string();
    assert!(refused.contains("data.text.content.fingerprint"), "{refused}");
}
