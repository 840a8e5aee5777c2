//! Packages outside the workspace that build on it: they share its build outputs.

use crate::support::top;
use std::collections::BTreeSet;

fn read(path: &std::path::Path) -> toml::Table {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn examples_have_the_profiles_and_versions_of_the_workspace() {
    let (manifest, lock) = (read(&top().join("Cargo.toml")), read(&top().join("Cargo.lock")));
    let versions = |lock: &toml::Table| -> BTreeSet<String> {
        let packages = lock["package"].as_array().unwrap().iter();
        packages.map(|p| format!("{} {}", p["name"], p["version"])).collect()
    };
    let known = versions(&lock);
    let mut seen = 0;
    for example in std::fs::read_dir(top().join("examples")).unwrap().flatten() {
        let (folder, name) = (example.path(), example.file_name().into_string().unwrap());
        let own = read(&folder.join("Cargo.toml"));
        assert_eq!(own["profile"], manifest["profile"], "{name}");
        assert!(own["workspace"].as_table().unwrap().is_empty(), "{name} is a workspace of its own");
        let others: Vec<String> = versions(&read(&folder.join("Cargo.lock"))).difference(&known).cloned().collect();
        assert_eq!(others, [format!("\"{name}\" \"0.1.0\"")], "{name}");
        assert!(std::fs::read_to_string(folder.join("README.md")).unwrap().lines().count() <= 14, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 3);
}
