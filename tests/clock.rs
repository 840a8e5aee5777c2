//! No result and no decision depends on the wall clock. (`clippy.toml` keeps the program from reading it.)

use crate::support::{results, run, scratch, small_spec};
use cl_experiments::run::folder::RunFolder;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

fn for_each_file(folder: &Path, f: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { for_each_file(&path, f) } else { f(&path) }
    }
}

/// As after a clock that was ahead has been set back.
#[test]
fn a_run_whose_files_are_from_the_future_goes_on_bit_by_bit() {
    let (spec, folder) = (small_spec(), scratch());
    let [whole, stopped] = ["whole", "stopped"].map(|name| RunFolder::at(folder.path().join(name)));
    run(&spec, 1, &whole, &AtomicBool::new(false), &mut |_| {}).unwrap();
    let stop = AtomicBool::new(false);
    run(&spec, 1, &stopped, &stop, &mut |done| stop.store(done >= 30, Ordering::Relaxed)).unwrap();
    #[allow(clippy::disallowed_methods, reason = "the clock is set wrong here on purpose")]
    let later = SystemTime::now() + Duration::from_secs(10 * 365 * 86_400);
    let mut touched = 0;
    for_each_file(stopped.path(), &mut |path| {
        File::options().append(true).open(path).unwrap().set_times(FileTimes::new().set_modified(later)).unwrap();
        touched += 1;
    });
    assert!(touched > 4, "{touched} files");
    run(&spec, 1, &stopped, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert_eq!(results(&stopped), results(&whole));
}
