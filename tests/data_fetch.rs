use crate::support::scratch;
use cl_experiments::io::error::UserError;
use cl_experiments::io::fetch::{
    Archive, CIFAR10, CIFAR100, CLINC150, Digest as PublishedDigest, Event, Fetched, Origin, data_folder_among, fetch,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use tar::{EntryType, Header};

/// What the server does with a request.
#[derive(Debug, Clone)]
enum Answer {
    /// The file, or the requested range.
    Serve,
    /// The same, but the connection ends after this many bytes of the body.
    Cut(usize),
    /// The whole file, whatever is requested.
    IgnoreRange,
    /// A range that starts one byte late.
    WrongRange,
    /// The whole file without its length.
    Unsized,
    /// Announces this many bytes and sends none.
    Promise(u64),
    /// A status without a body.
    Status(&'static str),
    /// Closes the connection without an answer.
    Close,
    /// Sends this many bytes of the body, then nothing until the other side goes away.
    Hang(usize),
    /// Sends the body in ten pieces with this many milliseconds between them.
    Trickle(u64),
}

/// A request as it came, and how many bytes of a body were sent for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    range: Option<String>,
    if_range: Option<String>,
    sent: usize,
}

/// A server on the loopback interface: one request per connection, one answer after the other, the last one forever.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    file: Arc<Mutex<(Vec<u8>, &'static str)>>,
}

impl Server {
    fn new(bytes: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/small.tar.gz", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let file = Arc::new(Mutex::new((bytes.to_vec(), "ETag: \"first\"")));
        let (log, content, answers) = (seen.clone(), file.clone(), answers.to_vec());
        // It ends with the test program.
        std::thread::spawn(move || {
            for (number, connection) in listener.incoming().enumerate() {
                let (bytes, version) = content.lock().unwrap().clone();
                serve(connection.unwrap(), &answers[number.min(answers.len() - 1)], &bytes, version, &log);
            }
        });
        Self { url, seen, file }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.seen().into_iter().map(|seen| seen.range).collect()
    }

    fn sent(&self) -> usize {
        self.seen().iter().map(|seen| seen.sent).sum()
    }

    /// Replaces the file by another version, which has a distinguishing line in the response header.
    fn replace(&self, bytes: &[u8], version: &'static str) {
        *self.file.lock().unwrap() = (bytes.to_vec(), version);
    }
}

fn serve(mut connection: TcpStream, answer: &Answer, bytes: &[u8], version: &str, log: &Mutex<Vec<Seen>>) {
    let mut range = None;
    let mut if_range = None;
    for line in BufReader::new(connection.try_clone().unwrap()).lines().map_while(Result::ok) {
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => range = Some(value.to_string()),
            Some((name, value)) if name.eq_ignore_ascii_case("if-range") => if_range = Some(value.to_string()),
            None if line.is_empty() => break,
            _ => {}
        }
    }
    let asked = range.as_ref().map(|r| r.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap());
    let asked: Option<usize> = asked.filter(|_| if_range.as_deref().is_none_or(|wanted| version.ends_with(wanted)));
    let length = bytes.len();
    let (status, start) = match (answer, asked) {
        (Answer::Status(status), _) => (*status, length),
        (Answer::IgnoreRange | Answer::Unsized | Answer::Promise(_), _) | (_, None) => ("200 OK", 0),
        (Answer::WrongRange, Some(start)) => ("206 Partial Content", start + 1),
        (_, Some(start)) if start >= length => ("416 Range Not Satisfiable", length),
        (_, Some(start)) => ("206 Partial Content", start),
    };
    let mut head = format!("HTTP/1.1 {status}\r\n{version}\r\nConnection: close\r\n");
    match (answer, status) {
        (Answer::Unsized, _) => {}
        (Answer::Promise(size), _) => head += &format!("Content-Length: {size}\r\n"),
        _ => head += &format!("Content-Length: {}\r\n", length - start),
    }
    match &status[..3] {
        "206" => head += &format!("Content-Range: bytes {start}-{}/{length}\r\n", length - 1),
        "416" => head += &format!("Content-Range: bytes */{length}\r\n"),
        _ => {}
    }
    let end = match answer {
        Answer::Cut(n) | Answer::Hang(n) => (start + n).min(length),
        Answer::Promise(_) => start,
        _ => length,
    };
    let body = &bytes[start.min(end)..end];
    log.lock().unwrap().push(Seen { range, if_range, sent: body.len() });
    if matches!(answer, Answer::Close) {
        return;
    }
    let pause = if let Answer::Trickle(ms) = answer { Duration::from_millis(*ms) } else { Duration::ZERO };
    // The other side may have disconnected, which is what some tests are about.
    let _ = connection.write_all(format!("{head}\r\n").as_bytes());
    for piece in body.chunks(body.len() / 10 + 1) {
        let _ = connection.write_all(piece);
        std::thread::sleep(pause);
    }
    if matches!(answer, Answer::Hang(_)) {
        let _ = std::io::copy(&mut connection, &mut std::io::sink());
    }
}

const FILES: [(&str, u64); 2] = [("one.bin", 40_000), ("two.bin", 20_000)];

/// Bytes that do not compress, the same each time (Marsaglia's xorshift).
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// An archive with its digest.
struct Packed {
    bytes: Vec<u8>,
    md5: String,
    files: Vec<(&'static str, u64)>,
}

impl Packed {
    fn new(entries: &[(Header, Vec<u8>)]) -> Self {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (header, data) in entries {
            tar.append(header, data.as_slice()).unwrap();
        }
        Self::of_bytes(tar.into_inner().unwrap().finish().unwrap())
    }

    fn of_bytes(bytes: Vec<u8>) -> Self {
        let md5 = hex::encode(Md5::digest(&bytes));
        Self { bytes, md5, files: FILES.to_vec() }
    }

    /// A folder, two data files of noise and a page about them; a little over 60,000 bytes.
    fn small() -> Self {
        Self::new(&good_entries())
    }

    fn archive(&self) -> Archive<'_> {
        Archive {
            name: "small",
            url: "http://home.invalid/small.tar.gz",
            digest: PublishedDigest::Md5(&self.md5),
            is_packed: true,
            top_folder: "small-bin",
            files: &self.files,
            instead: None,
        }
    }
}

fn good_entries() -> Vec<(Header, Vec<u8>)> {
    vec![
        entry("small-bin/", EntryType::Directory, Vec::new()),
        entry("small-bin/one.bin", EntryType::Regular, noise(40_000, 1)),
        entry("small-bin/two.bin", EntryType::Regular, noise(20_000, 2)),
        entry("small-bin/readme.html", EntryType::Regular, b"<html></html>".to_vec()),
    ]
}

/// An entry whose name is written verbatim, which a well-behaved writer would refuse.
fn entry(name: &str, kind: EntryType, data: Vec<u8>) -> (Header, Vec<u8>) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(data.len() as u64);
    header.set_mode(0o4777);
    if matches!(kind, EntryType::Symlink | EntryType::Link) {
        header.set_link_name("/etc/passwd").unwrap();
    }
    if kind == EntryType::GNUSparse {
        header.as_gnu_mut().unwrap().set_real_size(0);
    }
    header.set_cksum();
    (header, data)
}

/// The same entry, declared with a different size.
fn entry_of_size(name: &str, size: u64) -> (Header, Vec<u8>) {
    let (mut header, data) = entry(name, EntryType::Regular, b"short".to_vec());
    header.set_size(size);
    header.set_cksum();
    (header, data)
}

/// No pauses, and little patience with a server that says nothing.
fn origin(url: &str) -> Origin {
    Origin { attempts: 3, wait: Duration::ZERO, silence: Duration::from_secs(20), ..Origin::new(url) }
}

fn get(packed: &Packed, folder: &Path, origin: &Origin) -> Result<Fetched, UserError> {
    fetch(&packed.archive(), folder, origin, &mut |_| {})
}

/// The message of a failed fetch: one paragraph that is not empty.
fn complaint(outcome: Result<Fetched, UserError>) -> String {
    let text = outcome.expect_err("the fetch fails").to_string();
    assert!(!text.contains('\n') && text.len() > 40, "{text}");
    text
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
}

/// Names in a folder, sorted, without the lock, which stays.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

fn assert_unpacked(folder: &Path) {
    assert_eq!(names(folder), ["small-bin"], "archive, part and staging are gone");
    let target = folder.join("small-bin");
    assert_eq!(names(&target), ["one.bin", "readme.html", "two.bin"]);
    assert!(fs::read(target.join("one.bin")).unwrap() == noise(40_000, 1));
    assert!(fs::read(target.join("two.bin")).unwrap() == noise(20_000, 2));
}

#[test]
fn a_download_is_unpacked_and_a_second_one_makes_no_request() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Serve]);
    let cache = folder.path().join("not/there/yet");
    let mut events = Vec::new();
    let fetched = fetch(&packed.archive(), &cache, &origin(&server.url), &mut |event| events.push(event)).unwrap();
    assert_eq!(fetched, Fetched::Unpacked(cache.join("small-bin")));
    assert_unpacked(&cache);
    let length = packed.bytes.len() as u64;
    assert_eq!(events.first(), Some(&Event::Started { have: 0, total: Some(length) }));
    assert_eq!(events[events.len() - 3..], [Event::Received { have: length }, Event::Checking, Event::Unpacking]);
    assert_eq!(server.ranges(), [None]);

    assert_eq!(get(&packed, &cache, &origin(&server.url)).unwrap(), Fetched::AlreadyThere(cache.join("small-bin")));
    assert_eq!(server.seen().len(), 1);
}

#[cfg(unix)]
#[test]
fn permissions_in_an_archive_are_not_taken_over() {
    use std::os::unix::fs::PermissionsExt;
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Serve]);
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    let mode = fs::metadata(folder.path().join("small-bin/one.bin")).unwrap().permissions().mode();
    assert_eq!(mode & 0o6111, 0, "the entry says 4777, the file has {mode:o}");
}

#[test]
fn a_connection_that_breaks_is_resumed_without_fetching_a_byte_twice() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Cut(10_000), Answer::Cut(5_000), Answer::Serve]);
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
    let [a, b, c] = &server.seen()[..] else { panic!("{:?}", server.seen()) };
    assert_eq!((&a.range, &a.if_range), (&None, &None));
    assert_eq!((b.range.as_deref(), b.if_range.as_deref()), (Some("bytes=10000-"), Some("\"first\"")));
    assert_eq!((c.range.as_deref(), c.if_range.as_deref()), (Some("bytes=15000-"), Some("\"first\"")));
    assert_eq!(server.sent(), packed.bytes.len());
}

#[test]
fn what_was_downloaded_before_giving_up_is_kept_for_the_next_call() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Cut(10_000), Answer::Close, Answer::Close, Answer::Serve]);
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    let part = folder.path().join("small.tar.gz.part");
    assert_says(
        &text,
        &[&server.url, "10000 bytes are kept in", part.to_str().unwrap(), "goes on from there", "--url"],
    );
    assert!(fs::read(&part).unwrap() == packed.bytes[..10_000]);

    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
    assert_eq!(server.seen().len(), 4, "three attempts, then one");
    assert_eq!(server.seen()[3].range.as_deref(), Some("bytes=10000-"));
}

#[test]
fn an_attempt_that_brings_a_mebibyte_does_not_count_as_failed() {
    let folder = scratch();
    let size = 5_000_000;
    let mut packed = Packed::new(&[entry("small-bin/one.bin", EntryType::Regular, noise(size, 1))]);
    packed.files = vec![("one.bin", size as u64)];
    let server = Server::new(&packed.bytes, &[Answer::Cut(1_100_000)]);
    get(&packed, folder.path(), &Origin { attempts: 2, ..origin(&server.url) }).unwrap();
    assert_eq!(server.seen().len(), 5);
    assert_eq!(server.sent(), packed.bytes.len());
}

#[test]
fn a_server_that_knows_no_ranges_or_has_another_version_is_asked_from_the_start() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Cut(10_000), Answer::IgnoreRange]);
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
    assert_eq!(server.sent(), 10_000 + packed.bytes.len());

    let folder = scratch();
    let server = Server::new(&noise(70_000, 9), &[Answer::Cut(10_000), Answer::Serve]);
    complaint(get(&packed, folder.path(), &Origin { attempts: 1, ..origin(&server.url) }));
    server.replace(&packed.bytes, "ETag: \"second\"");
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
    assert_eq!(server.seen()[1].if_range.as_deref(), Some("\"first\""));
}

#[test]
fn another_address_goes_on_with_what_is_there_but_without_the_tag_of_the_first() {
    let (packed, folder) = (Packed::small(), scratch());
    let first = Server::new(&packed.bytes, &[Answer::Cut(10_000)]);
    complaint(get(&packed, folder.path(), &Origin { attempts: 1, ..origin(&first.url) }));
    let second = Server::new(&packed.bytes, &[Answer::Serve]);
    second.replace(&packed.bytes, "ETag: \"other\"");
    get(&packed, folder.path(), &origin(&second.url)).unwrap();
    assert_unpacked(folder.path());
    let seen = Seen { range: Some("bytes=10000-".into()), if_range: None, sent: packed.bytes.len() - 10_000 };
    assert_eq!(second.seen(), [seen]);
}

#[test]
fn a_date_tells_versions_apart_where_there_is_no_strong_tag() {
    let packed = Packed::small();
    let date = "Mon, 08 Jun 2009 17:06:14 GMT";
    for (version, if_range) in [
        ("Last-Modified: Mon, 08 Jun 2009 17:06:14 GMT", Some(date)),
        ("ETag: W/\"weak\"\r\nLast-Modified: Mon, 08 Jun 2009 17:06:14 GMT", Some(date)),
        ("ETag: W/\"weak\"", None),
    ] {
        let folder = scratch();
        let server = Server::new(&packed.bytes, &[Answer::Cut(10_000), Answer::Serve]);
        server.replace(&packed.bytes, version);
        get(&packed, folder.path(), &origin(&server.url)).unwrap();
        assert_unpacked(folder.path());
        assert_eq!(server.seen()[1].if_range.as_deref(), if_range, "{version}");
        assert_eq!(server.sent(), packed.bytes.len());
    }
}

#[test]
fn a_range_that_was_not_asked_for_is_not_used() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Cut(10_000), Answer::WrongRange, Answer::Serve]);
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
    assert_eq!(server.ranges(), [None, Some("bytes=10000-".into()), None]);
}

#[test]
fn a_part_that_is_whole_or_too_long_is_recognised() {
    let packed = Packed::small();
    for (surplus, requests) in [(0, 1), (7, 2)] {
        let folder = scratch();
        let part = [&packed.bytes[..], &vec![0; surplus]].concat();
        fs::write(folder.path().join("small.tar.gz.part"), part).unwrap();
        let server = Server::new(&packed.bytes, &[Answer::Serve]);
        get(&packed, folder.path(), &origin(&server.url)).unwrap();
        assert_unpacked(folder.path());
        assert_eq!(server.seen().len(), requests, "{:?}", server.seen());
        assert_eq!(server.sent(), if surplus == 0 { 0 } else { packed.bytes.len() });
    }
}

#[test]
fn a_server_that_does_not_say_how_long_the_file_is_serves_it_as_well() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Unsized]);
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
}

#[test]
fn a_wrong_digest_is_told_and_nothing_of_it_is_kept() {
    let (packed, folder) = (Packed::small(), scratch());
    let wrong = Packed::of_bytes(noise(60_000, 5));
    let server = Server::new(&wrong.bytes, &[Answer::Serve]);
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    assert_says(&text, &[&server.url, &packed.md5, &wrong.md5, "removed", "--url"]);
    assert_eq!(names(folder.path()), [""; 0]);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn an_archive_that_was_put_there_by_hand_is_checked_and_unpacked_without_a_request() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Serve]);
    let copy = folder.path().join("small.tar.gz");
    fs::write(&copy, &packed.bytes[..60_000]).unwrap();
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    assert_says(&text, &[copy.to_str().unwrap(), &packed.md5, "remove it"]);
    assert!(copy.exists(), "what a person put there is theirs to remove");

    fs::write(&copy, &packed.bytes).unwrap();
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
    assert_eq!(server.seen(), []);
}

#[test]
fn a_status_that_will_not_change_is_told_at_once_and_one_that_may_is_tried_again() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Status("404 Not Found")]);
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    let place = folder.path().join("small.tar.gz");
    assert_says(&text, &[&server.url, "404 Not Found", "--url", &packed.md5, place.to_str().unwrap()]);
    assert_eq!(server.seen().len(), 1);

    let server = Server::new(&packed.bytes, &[Answer::Status("503 Service Unavailable"), Answer::Serve]);
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn a_refused_connection_is_tried_again_with_growing_pauses_then_told() {
    let (packed, folder) = (Packed::small(), scratch());
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/small.tar.gz");
    let mut waits = Vec::new();
    let origin = Origin { wait: Duration::from_millis(10), ..origin(&url) };
    let outcome = fetch(&packed.archive(), folder.path(), &origin, &mut |event| {
        if let Event::Retrying { wait, .. } = event {
            waits.push(wait.as_millis());
        }
    });
    assert_says(&complaint(outcome).to_lowercase(), &[&url, "refused", "without a network"]);
    assert_eq!(waits, [10, 20]);
    assert_eq!(names(folder.path()), [""; 0]);
}

#[test]
fn an_unknown_host_and_an_address_that_is_none_are_told() {
    let (packed, folder) = (Packed::small(), scratch());
    for url in ["http://nowhere.invalid/small.tar.gz", "ftp://127.0.0.1/small.tar.gz", "no address", ""] {
        let origin = Origin { silence: Duration::from_secs(2), ..origin(url) };
        assert_says(&complaint(get(&packed, folder.path(), &origin)), &[url, "--url"]);
    }
}

#[test]
fn a_silent_server_does_not_hold_the_program_for_ever() {
    let (packed, begun) = (Packed::small(), Instant::now());
    for answer in [Answer::Hang(0), Answer::Hang(10_000)] {
        let folder = scratch();
        let server = Server::new(&packed.bytes, &[answer]);
        let patience = Origin { attempts: 1, silence: Duration::from_millis(300), ..origin(&server.url) };
        assert_says(&complaint(get(&packed, folder.path(), &patience)), &[&server.url, "silent for 0.3 s"]);
    }
    // A listener that never accepts: the connection is established, but no answer comes.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/small.tar.gz", listener.local_addr().unwrap());
    let patience = Origin { attempts: 1, silence: Duration::from_millis(300), ..origin(&url) };
    assert_says(&complaint(get(&packed, scratch().path(), &patience)), &[&url, "silent for 0.3 s"]);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn a_slow_server_has_all_the_time_it_needs_while_it_sends() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Trickle(300)]);
    let patience = Origin { attempts: 1, silence: Duration::from_millis(1500), ..origin(&server.url) };
    get(&packed, folder.path(), &patience).unwrap();
    assert_unpacked(folder.path());
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_secure_address_is_spoken_to_in_tls() {
    let (packed, folder) = (Packed::small(), scratch());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/small.tar.gz", listener.local_addr().unwrap());
    let first_bytes = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut hello = [0; 6];
        std::io::Read::read_exact(&mut connection, &mut hello).unwrap();
        let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        hello
    });
    let text = complaint(get(&packed, folder.path(), &Origin { attempts: 1, ..origin(&url) }));
    assert_says(&text, &[&url, "--url"]);
    let hello = first_bytes.join().unwrap();
    assert_eq!((hello[0], hello[1], hello[5]), (22, 3, 1), "a handshake record of TLS with a ClientHello in it");
}

#[test]
fn more_bytes_than_the_archive_can_have_are_refused() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Promise(10 << 30)]);
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    assert_says(&text, &[&server.url, "10737418240 bytes", "1108576"]);
    assert_eq!((names(folder.path()), server.seen().len()), (vec![], 1));

    let server = Server::new(&noise(1_200_000, 3), &[Answer::Unsized]);
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    assert_says(&text, &[&server.url, "at most 1108576"]);
    assert!(fs::metadata(folder.path().join("small.tar.gz.part")).unwrap().len() == 0);
}

/// Each archive has the right digest, so that only the unpacking stands between its entries and the disk.
#[test]
fn entries_that_lead_astray_are_named_and_leave_nothing_behind() {
    let home = scratch();
    let absolute = home.path().join("escaped");
    let absolute = absolute.to_str().unwrap();
    let file = |name: &str| entry(name, EntryType::Regular, b"escaped".to_vec());
    let kind = |kind: EntryType| entry("small-bin/link", kind, Vec::new());
    let many = |n: usize| (0..n).map(|i| file(&format!("small-bin/extra-{i}"))).collect::<Vec<_>>();
    // Together they hold more than 60,000 bytes and a mebibyte, but each of them does not.
    let heavy = || ["a", "b"].map(|n| entry(&format!("small-bin/{n}"), EntryType::Regular, vec![0; 700_000])).to_vec();
    let cases = [
        (vec![file("../escaped")], "../escaped", "leads out"),
        (vec![file("small-bin/../../escaped")], "small-bin/../../escaped", "leads out"),
        (vec![file(absolute)], absolute, "leads out"),
        (vec![file("escaped")], "escaped", "not below small-bin/"),
        (vec![file("small-bin-too/escaped")], "small-bin-too/escaped", "not below small-bin/"),
        (vec![file("small-bin")], "small-bin", "not below small-bin/"),
        (vec![entry("other/", EntryType::Directory, vec![])], "other/", "not below small-bin/"),
        (vec![kind(EntryType::Symlink), file("small-bin/link/escaped")], "small-bin/link", "Symlink"),
        (vec![kind(EntryType::Link)], "small-bin/link", "Link"),
        (vec![kind(EntryType::Fifo)], "small-bin/link", "Fifo"),
        (vec![kind(EntryType::Block)], "small-bin/link", "Block"),
        (vec![kind(EntryType::Char)], "small-bin/link", "Char"),
        (vec![kind(EntryType::GNUSparse)], "small-bin/link", "neither a regular file nor a folder"),
        (vec![entry_of_size("small-bin/one.bin", 10 << 30)], "small-bin/one.bin", "10737418240 bytes"),
        (vec![entry_of_size("small-bin/one.bin", u64::MAX >> 1)], "small-bin/one.bin", "has 9223372036854775807 bytes"),
        (vec![entry_of_size("small-bin/one.bin", 40_001)], "small-bin/one.bin", "40000 are the most"),
        (vec![entry_of_size("small-bin/page", (1 << 20) + 1)], "small-bin/page", "1048576 are the most"),
        (heavy(), "small-bin/b", "408576 are the most"),
        (many(19), "small-bin/extra-18", "the 18 that there may be"),
        (vec![entry_of_size("small-bin/one.bin", 39_000)], "small-bin/one.bin", "cannot be read"),
        (vec![file("small-bin/x"), file("small-bin/x")], "small-bin/x", "cannot be written"),
        (vec![file("small-bin/x"), file("small-bin/x/y")], "small-bin/x", "cannot be"),
        (vec![entry("x", EntryType::XHeader, vec![0; 40 << 20])], "small.tar.gz", "swells to more than"),
    ];
    for (entries, named, words) in cases {
        let packed = Packed::new(&entries);
        let cache = home.path().join("cache");
        let server = Server::new(&packed.bytes, &[Answer::Serve]);
        let text = complaint(get(&packed, &cache, &origin(&server.url)));
        assert_says(&text, &[named, words]);
        assert_eq!(names(&cache), ["small.tar.gz"], "{text}");
        assert_eq!(names(home.path()), ["cache"], "{text}");
        fs::remove_dir_all(cache).unwrap();
    }
}

#[test]
fn an_archive_is_only_taken_whole() {
    let not = |name: &'static str| {
        move |entry: &(Header, Vec<u8>)| !String::from_utf8_lossy(&entry.0.path_bytes()).ends_with(name)
    };
    let mut shorter: Vec<_> = good_entries().into_iter().filter(not("two.bin")).collect();
    shorter.push(entry("small-bin/two.bin", EntryType::Regular, noise(19_999, 2)));
    let damaged = Packed::of_bytes(Packed::small().bytes[..30_000].to_vec());
    let cases = [
        (Packed::new(&good_entries().into_iter().filter(not("two.bin")).collect::<Vec<_>>()), "two.bin is missing"),
        (Packed::new(&shorter), "two.bin has 19999 bytes instead of 20000"),
        (Packed::new(&[]), "it is not a folder"),
        (damaged, "cannot be read"),
        (Packed::of_bytes(noise(1000, 4)), "cannot be unpacked"),
    ];
    for (packed, words) in cases {
        let folder = scratch();
        let server = Server::new(&packed.bytes, &[Answer::Serve]);
        let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
        assert_says(&text, &["small.tar.gz", words]);
        assert_eq!(names(folder.path()), ["small.tar.gz"]);
    }
}

#[test]
fn an_incomplete_folder_is_neither_taken_nor_overwritten() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Serve]);
    let target = folder.path().join("small-bin");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("one.bin"), b"mine").unwrap();
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    assert_says(&text, &[target.to_str().unwrap(), "one.bin has 4 bytes instead of 40000", "move this folder away"]);
    assert_eq!(fs::read(target.join("one.bin")).unwrap(), b"mine");
    assert_eq!(server.seen(), []);
}

#[test]
fn what_an_earlier_process_left_of_unpacking_is_cleared_away() {
    let (packed, folder) = (Packed::small(), scratch());
    let staging = folder.path().join(".staged-small-bin/small-bin");
    fs::create_dir_all(&staging).unwrap();
    fs::write(staging.join("one.bin"), b"half").unwrap();
    let server = Server::new(&packed.bytes, &[Answer::Serve]);
    get(&packed, folder.path(), &origin(&server.url)).unwrap();
    assert_unpacked(folder.path());
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let (packed, folder) = (Packed::small(), scratch());
    let server = Server::new(&packed.bytes, &[Answer::Hang(10_000), Answer::Serve]);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let patience = Origin { silence: Duration::from_secs(3), ..origin(&server.url) };
            fetch(&packed.archive(), folder.path(), &patience, &mut |event| sender.send(event).unwrap())
        });
        while receiver.recv().unwrap() != (Event::Received { have: 10_000 }) {}
        let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
        assert_says(&text, &["another process is fetching small", folder.path().to_str().unwrap()]);
        first.join().unwrap().unwrap();
    });
    assert_unpacked(folder.path());
    assert_eq!(server.ranges(), [None, Some("bytes=10000-".into())]);
}

/// `/dev/full` accepts no bytes: the error of a full disk without filling one.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    let (packed, folder) = (Packed::small(), scratch());
    let part = folder.path().join("small.tar.gz.part");
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let server = Server::new(&packed.bytes, &[Answer::Serve]);
    let text = complaint(get(&packed, folder.path(), &origin(&server.url)));
    assert_says(&text, &[part.to_str().unwrap(), "No space left on device", "make room", "--data-dir"]);
    assert_eq!(server.seen().len(), 1, "no attempt more");
}

/// `cl-experiments data fetch` with a proxy that leads nowhere, which must not matter for this machine.
fn command(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cl-experiments"));
    command.args(["data", "fetch"]).args(arguments).env("XDG_CACHE_HOME", cache);
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(variable, "http://127.0.0.1:1");
    }
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_command_ends_with_status_2_and_one_paragraph_when_there_is_no_such_file() {
    let folder = scratch();
    let server = Server::new(b"", &[Answer::Status("404 Not Found")]);
    let url = server.url.replace("small.tar.gz", "none");
    let output = command(folder.path(), &["cifar10", "--url", &url]).output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stdout, "");
    let place = folder.path().join("cl-experiments/data/cifar-10-binary.tar.gz");
    let expected = format!(
        "error: {url}: the server answers 404 Not Found. Another address can be given with --url. Without a network: \
         put cifar-10-binary.tar.gz (MD5 c32a1d4ab5d03f1284b67883e8d87530) at {} and give the same command, which \
         checks and unpacks it.\n",
        place.display()
    );
    assert_eq!(stderr, expected);
}

#[test]
fn the_command_shows_tenths_on_a_pipe_and_holds_the_archive_to_the_published_digest() {
    let folder = scratch();
    let server = Server::new(&noise(3_000_000, 6), &[Answer::Serve]);
    let data_dir = folder.path().join("data");
    let arguments = ["cifar100", "--url", &server.url, "--data-dir", data_dir.to_str().unwrap()];
    let output = command(folder.path(), &arguments).output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_says(&stderr, &["03b5dce01913d631647c71ecec9e9cb8", &hex::encode(Md5::digest(noise(3_000_000, 6)))]);
    let tenths: Vec<&str> = stdout.lines().filter_map(|line| line.split_once(" %")).map(|(n, _)| n.trim()).collect();
    assert_eq!(tenths.len(), 10, "{stdout}");
    assert_eq!(tenths.last(), Some(&"100"), "{stdout}");
    assert_eq!(names(&data_dir), [""; 0]);
}

#[test]
fn the_command_is_content_with_a_complete_folder() {
    let folder = scratch();
    let target = folder.path().join("cl-experiments/data/cifar-100-binary");
    fs::create_dir_all(&target).unwrap();
    for (name, size) in CIFAR100.files {
        // Sizes without contents.
        fs::File::create(target.join(name)).unwrap().set_len(*size).unwrap();
    }
    let output = command(folder.path(), &["cifar100"]).output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    assert_says(&stdout, &[target.to_str().unwrap(), "complete; nothing was downloaded"]);

    fs::File::create(target.join("test.bin")).unwrap().set_len(30_739_999).unwrap();
    let output = command(folder.path(), &["cifar100"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(&texts(&output).1, &["test.bin has 30739999 bytes instead of 30740000"]);
}

/// Root bypasses permissions, so the test uses a place where no folder can exist: below a file.
#[test]
fn the_command_names_a_folder_that_cannot_be_made_and_a_set_that_is_not_there() {
    let folder = scratch();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let below = file.join("data");
    let output = command(folder.path(), &["cifar10", "--data-dir", below.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(&texts(&output).1, &[below.to_str().unwrap(), "cannot be made", "--data-dir"]);

    let output = command(folder.path(), &["cifar1000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_says(&texts(&output).1, &["cifar1000", "cifar10, cifar100"]);
}

/// A limit on file sizes stands in for a disk that fills up midway; the shell sets it for the program it becomes.
#[cfg(unix)]
#[test]
fn the_command_keeps_what_it_has_when_the_disk_fills_up_and_goes_on_from_there() {
    let folder = scratch();
    let server = Server::new(&noise(3_000_000, 7), &[Answer::Serve]);
    let plain = command(folder.path(), &["cifar10", "--url", &server.url]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$@\"", "sh"]).arg(plain.get_program());
    limited.args(plain.get_args()).envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.output().unwrap();
    let (_, stderr) = texts(&output);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let part = folder.path().join("cl-experiments/data/cifar-10-binary.tar.gz.part");
    assert_says(&stderr, &[part.to_str().unwrap(), "it cannot be written", "make room", "goes on from there"]);
    let kept = fs::metadata(&part).unwrap().len();
    // The unit of the limit is 512 bytes in some shells and 1024 in others.
    assert!([512_000, 1_024_000].contains(&kept), "{kept}");

    let output = { plain }.output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert_eq!(server.ranges(), [None, Some(format!("bytes={kept}-"))]);
    assert_says(&stdout, &["going on after"]);
    // The rest arrived intact: the digest is that of all the bytes.
    assert_says(&stderr, &[&hex::encode(Md5::digest(noise(3_000_000, 7)))]);
}

#[test]
fn data_are_looked_for_where_the_user_says_then_in_the_environment_then_in_the_cache() {
    let (packed, folder) = (Packed::small(), scratch());
    let archive = packed.archive();
    let set = |name: &str, files: &[(&str, u64)]| -> PathBuf {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        files.iter().for_each(|(file, size)| fs::write(path.join(file), vec![0; *size as usize]).unwrap());
        path
    };
    // A given folder may hold only some of the files, or contain the published folder.
    let argument = set("argument", &FILES[..1]);
    let variable = set("variable/small-bin", &FILES[1..]);
    let cache = folder.path().join("cache");
    let (from_argument, from_variable) = (Some(argument.as_path()), variable.parent().map(Path::as_os_str));
    let find = |data_dir, variable, cache| data_folder_among(&archive, data_dir, variable, cache);
    let error = |found: Result<PathBuf, UserError>| found.unwrap_err().to_string();

    assert_says(
        &error(find(None, None, Some(&cache))),
        &["`data fetch small`", "--data-dir", "CL_SMALL_DIR", "one.bin"],
    );
    assert_says(&error(find(None, Some(OsStr::new("")), None)), &["CL_SMALL_DIR"]);
    set("cache/small-bin", &FILES[..1]);
    assert_says(&error(find(None, None, Some(&cache))), &["two.bin is missing", "`data fetch small`"]);
    let fetched = set("cache/small-bin", &FILES);
    assert_eq!(find(None, None, Some(&cache)).unwrap(), fetched);
    assert_eq!(find(None, Some(OsStr::new("")), Some(&cache)).unwrap(), fetched);
    assert_eq!(find(None, from_variable, Some(&cache)).unwrap(), variable);
    assert_eq!(find(from_argument, from_variable, Some(&cache)).unwrap(), argument);

    let empty = set("empty", &[]);
    assert_says(&error(find(Some(&empty), from_variable, Some(&cache))), &["empty", "--data-dir", "one.bin, two.bin"]);
    assert_says(&error(find(None, Some(empty.as_os_str()), Some(&cache))), &["empty", "CL_SMALL_DIR"]);
}

#[test]
fn the_published_sets_are_whole_records() {
    for (archive, record, records) in [(CIFAR10, 3073, 60_000), (CIFAR100, 3074, 60_000)] {
        assert!(archive.files.iter().all(|(_, size)| size % record == 0), "{archive:?}");
        assert_eq!(archive.files.iter().map(|(_, size)| size / record).sum::<u64>(), records);
        assert_digits(archive.digest, 32);
        assert!(archive.limit_byte() < 1 << 30);
    }
    assert_eq!(CIFAR10.variable(), "CL_CIFAR10_DIR");
    assert_eq!(CIFAR100.file_name(), "cifar-100-binary.tar.gz");
    assert_digits(CLINC150.digest, 64);
    assert_eq!((CLINC150.variable().as_str(), CLINC150.file_name().as_str()), ("CL_CLINC150_DIR", "data_full.json"));
}

fn assert_digits(digest: PublishedDigest, count: usize) {
    let digits = digest.digits();
    assert!(digits.len() == count && digits.bytes().all(|b| b"0123456789abcdef".contains(&b)), "{digest}");
}

/// A data set that is one file is checked by its digest and put into its folder as it is.
#[test]
fn a_single_file_is_checked_and_put_in_place() {
    let json = br#"{"train": [["wake me", "alarm"]], "test": [["wake me now", "alarm"]]}"#;
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(json));
    let files = [("data_full.json", json.len() as u64)];
    let archive = |digest| Archive {
        url: "http://home.invalid/data_full.json",
        digest: PublishedDigest::Sha256(digest),
        files: &files,
        ..CLINC150
    };
    let folder = scratch();
    let server = Server::new(json, &[Answer::Cut(20), Answer::Serve]);
    let wrong = "0".repeat(64);
    let text = complaint(fetch(&archive(&wrong), folder.path(), &origin(&server.url), &mut |_| {}));
    assert_says(&text, &["SHA-256", &digest, &wrong, "it was removed"]);
    let fetched = fetch(&archive(&digest), folder.path(), &origin(&server.url), &mut |_| {}).unwrap();
    assert_eq!(fetched, Fetched::Unpacked(folder.path().join("clinc150")));
    assert_eq!(names(folder.path()), ["clinc150"]);
    let read = cl_data::tokens::read_clinc150(&folder.path().join("clinc150")).unwrap();
    assert_eq!((read.train.sentences[0].as_str(), read.class_names), ("wake me", vec!["alarm".to_string()]));

    // A folder of the user may hold the sentences in rows.
    let rows = folder.path().join("rows");
    fs::create_dir(&rows).unwrap();
    fs::write(rows.join("clinc150-train.tsv"), "alarm\twake me\n").unwrap();
    assert_eq!(data_folder_among(&archive(&digest), Some(&rows), None, None).unwrap(), rows);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let text = data_folder_among(&archive(&digest), Some(&empty), None, None).unwrap_err().to_string();
    assert_says(&text, &["data_full.json", "clinc150-train.tsv and clinc150-test.tsv with intent and sentence"]);
}
