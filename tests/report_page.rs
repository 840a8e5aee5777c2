//! The report of a small claim, as text and opened in headless Chromium.

use crate::support::{binary, scratch, small_experiment};
use std::path::{Path, PathBuf};
use std::process::Command;

fn browser() -> Option<PathBuf> {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .iter()
        .map(PathBuf::from)
        .find(|p| p.is_file())
}

fn report(folder: &Path) -> PathBuf {
    let experiment = small_experiment(folder, ("It is small.", "It is <b>small</b> & safe."));
    let expected = "[[expect]]\nmetric = 'coverage_mean'\npoint = 'masked'\nover = 'mean'\njudged = false\nsource = '<script>alert(1)</script> and where the expectation comes from in many words, as expectations have them'\n";
    std::fs::write(experiment.join("expected.toml"), expected).unwrap();
    let output = binary(folder, &["reproduce", "small", "--experiments", folder.to_str().unwrap(), "--jobs", "1"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "nothing is judged, so nothing holds: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder.join("report/report.html")
}

#[test]
fn the_page_stands_alone_and_escapes_what_it_is_given() {
    let folder = scratch();
    let page = std::fs::read_to_string(report(folder.path())).unwrap();
    assert!(page.contains("&lt;b&gt;small&lt;") && !page.contains("<script>alert"), "texts come out as text");
    for outside in ["src=\"http", "href=\"http", "@import", "url(http"] {
        assert!(!page.contains(outside), "the page reaches outside: {outside}");
    }
    assert!(page.find("undecided").unwrap() < page.find("<svg").unwrap(), "the verdicts come first");
}

/// Every text of an experiment that gets onto the page, the names of points in figures included.
#[test]
fn markup_in_any_text_comes_out_as_text() {
    let folder = scratch();
    let hostile = "<img src=x onerror=alert(1)>";
    let experiment = small_experiment(folder.path(), ("It is small.", hostile));
    let path = experiment.join("experiment.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("A small experiment", hostile).replace("[points.masked", &format!("[points.\"{hostile}\""));
    std::fs::write(&path, text).unwrap();
    let expected = format!(
        "[[expect]]\nmetric = 'coverage_mean'\npoint = '{hostile}'\nover = 'mean'\njudged = false\nsource = '{hostile}'\n\n[[expect]]\nmetric = \
         'coverage_mean'\nterms = {{ '{hostile}' = 1.0 }}\nlabel = '{hostile}'\nover = 'mean'\njudged = false\nsource = 's'\n"
    );
    std::fs::write(experiment.join("expected.toml"), expected).unwrap();
    let arguments = ["reproduce", "small", "--experiments", folder.path().to_str().unwrap(), "--jobs", "1"];
    let output = binary(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(folder.path().join("report/report.html")).unwrap();
    assert!(!page.contains("<img"), "markup reached the page");
    assert!(page.matches("&lt;img src=x").count() >= 6, "{}", page.matches("&lt;img src=x").count());
    for figure in std::fs::read_dir(folder.path().join("report/figures")).unwrap().flatten() {
        let text = String::from_utf8_lossy(&std::fs::read(figure.path()).unwrap()).into_owned();
        assert!(!text.contains("<img"), "{}", figure.path().display());
    }
}

#[test]
#[ignore = "needs Chromium"]
fn the_page_opens_without_an_error_every_figure_is_visible_and_no_table_is_cut_off() {
    let browser = browser().expect("Chromium is installed");
    let folder = scratch();
    let page = report(folder.path());
    let figures = std::fs::read_to_string(&page).unwrap().matches("class=\"panel\"").count();
    assert!(figures >= 1);
    // The page itself has no script; a copy of it counts what can be seen.
    let probe = "<script>addEventListener('load', () => { const seen = [...document.querySelectorAll('figure .panel svg')].filter(s => { const b = s.getBoundingClientRect(); return b.width > 50 && b.height > 50; }); const cut = [...document.querySelectorAll('.wide')].filter(w => w.scrollWidth > w.clientWidth); document.title = 'visible ' + seen.length + ', cut ' + cut.length; });</script></body>";
    let copy = folder.path().join("probe.html");
    std::fs::write(&copy, std::fs::read_to_string(&page).unwrap().replace("</body>", probe)).unwrap();
    let output = Command::new(browser)
        .args([
            "--window-size=1280,1000",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
        ])
        .args(["--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", copy.display()))
        .output()
        .unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!log.contains("CONSOLE"), "{log}");
    assert!(
        dom.contains(&format!("<title>visible {figures}, cut 0</title>")),
        "{figures} figures, {:?}",
        dom.lines().find(|l| l.contains("<title>"))
    );
}
