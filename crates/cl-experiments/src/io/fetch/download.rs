//! Download into a `.part` file that survives the process and is resumed.

use super::archive::Archive;
use super::{Event, Places, by_hand};
use crate::io::error::UserError;
use crate::io::files::write_whole;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use ureq::http::{HeaderMap, Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

/// An attempt that receives this many bytes resets the count of failed attempts.
const PROGRESS_BYTE: u64 = 1 << 20;

/// Maximum duration of one attempt; the next one continues from there.
const ATTEMPT: Duration = Duration::from_secs(1800);

/// Where an archive comes from, and how patient to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Address, `http` or `https`.
    pub url: String,
    /// Number of consecutive failed attempts after which to give up; at least 1.
    pub attempts: u32,
    /// Pause after the first failed attempt; it doubles with each further one.
    pub wait: Duration,
    /// Longest tolerated silence of the server, including while connecting.
    pub silence: Duration,
}

impl Origin {
    /// An address with 4 attempts, pauses of 1, 2 and 4 seconds and silences of up to 30 seconds.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), attempts: 4, wait: Duration::from_secs(1), silence: Duration::from_secs(30) }
    }

    fn agent(&self) -> Agent {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("cl-experiments/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections(0)
            .timeout_resolve(Some(self.silence))
            .timeout_connect(Some(self.silence))
            .timeout_recv_response(Some(self.silence))
            .timeout_per_read(Some(self.silence))
            .timeout_per_call(Some(ATTEMPT));
        // A proxy cannot reach this machine's own loopback addresses.
        let config = if is_loopback(&self.url) { config.proxy(None) } else { config };
        config.build().new_agent()
    }
}

fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why an attempt ended.
enum Fault {
    /// Another attempt may help.
    Passing(String),
    /// No further attempt will help; what is wrong and what would be right.
    Lasting(String),
    /// Writing to disk failed.
    Disk(UserError),
}

/// Downloads until the `.part` file is as long as the server says.
///
/// # Errors
/// [`UserError`] naming the address or the file, what is kept, and the other ways to obtain the data.
pub(super) fn download(
    archive: &Archive,
    places: &Places,
    origin: &Origin,
    hear: &mut dyn FnMut(Event),
) -> Result<(), UserError> {
    let agent = origin.agent();
    let mut failed = 0;
    loop {
        let before = length(&places.part)?;
        let (reason, passing) = match attempt(&agent, archive, places, origin, hear) {
            Ok(()) => return Ok(()),
            Err(Fault::Disk(error)) => return Err(error),
            Err(Fault::Lasting(reason)) => (reason, false),
            Err(Fault::Passing(reason)) => (reason, true),
        };
        let have = length(&places.part)?;
        failed = if have >= before.saturating_add(PROGRESS_BYTE) { 1 } else { failed + 1 };
        if !passing || failed >= origin.attempts {
            return Err(given_up(archive, places, origin, &reason, have));
        }
        let wait = origin.wait.saturating_mul(1 << (failed - 1).min(6));
        hear(Event::Retrying { reason, wait });
        std::thread::sleep(wait);
    }
}

fn given_up(archive: &Archive, places: &Places, origin: &Origin, reason: &str, have: u64) -> UserError {
    let kept = if have > 0 {
        format!("{have} bytes are kept in {}, and the same command goes on from there. ", places.part.display())
    } else {
        String::new()
    };
    UserError::Run(format!(
        "{}: {reason}. {kept}Another address can be given with --url. {}",
        origin.url,
        by_hand(archive, &places.archive)
    ))
}

/// Makes one request and stores what it returns.
fn attempt(
    agent: &Agent,
    archive: &Archive,
    places: &Places,
    origin: &Origin,
    hear: &mut dyn FnMut(Event),
) -> Result<(), Fault> {
    let have = length(&places.part).map_err(Fault::Disk)?;
    let mut request = agent.get(&origin.url);
    if have > 0 {
        request = request.header(header::RANGE, format!("bytes={have}-"));
        if let Some(validator) = remembered(&places.part_from, &origin.url) {
            request = request.header(header::IF_RANGE, validator);
        }
    }
    let response = request.call().map_err(|e| fault(e, origin))?;
    let range = ContentRange::of(response.headers());
    let (have, total) = match response.status() {
        StatusCode::OK => (0, response.body().content_length()),
        StatusCode::PARTIAL_CONTENT if range.start == Some(have) && have > 0 => (have, range.total),
        StatusCode::RANGE_NOT_SATISFIABLE if range.total == Some(have) && have > 0 => return Ok(()),
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
            begin(&places.part)?;
            return Err(Fault::Passing(format!(
                "the server was asked for the bytes from {have} on and answers {} with {}, so the download begins anew",
                response.status(),
                response.headers().get(header::CONTENT_RANGE).map_or("no range", |v| v.to_str().unwrap_or("no range"))
            )));
        }
        status if status.is_server_error() || [408, 425, 429].contains(&status.as_u16()) => {
            return Err(Fault::Passing(format!("the server answers {status}")));
        }
        status => return Err(Fault::Lasting(format!("the server answers {status}"))),
    };
    check_size(archive, total.unwrap_or(0))?;
    let file = if have > 0 {
        File::options().append(true).open(&places.part).map_err(|e| disk(&places.part, &e))?
    } else {
        let file = begin(&places.part)?;
        remember(&places.part_from, &origin.url, response.headers()).map_err(Fault::Disk)?;
        file
    };
    hear(Event::Started { have, total });
    receive(response, Growing { file, path: &places.part, have, total }, archive, origin, hear)
}

/// The `.part` file while it grows.
struct Growing<'a> {
    file: File,
    path: &'a Path,
    have: u64,
    total: Option<u64>,
}

fn receive(
    response: Response<Body>,
    mut part: Growing,
    archive: &Archive,
    origin: &Origin,
    hear: &mut dyn FnMut(Event),
) -> Result<(), Fault> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(fault(e.into(), origin)),
        };
        if let Err(too_much) = check_size(archive, part.have + n as u64) {
            begin(part.path)?;
            return Err(too_much);
        }
        part.file.write_all(&buffer[..n]).map_err(|e| disk(part.path, &e))?;
        part.have += n as u64;
        hear(Event::Received { have: part.have });
    }
    match part.total {
        Some(total) if part.have < total => {
            Err(Fault::Passing(format!("the connection ended after {} of {total} bytes", part.have)))
        }
        _ => Ok(()),
    }
}

fn check_size(archive: &Archive, size: u64) -> Result<(), Fault> {
    if size <= archive.limit_byte() {
        return Ok(());
    }
    Err(Fault::Lasting(format!(
        "the server sends {size} bytes or more, where {} has at most {}",
        archive.file_name(),
        archive.limit_byte()
    )))
}

fn fault(error: ureq::Error, origin: &Origin) -> Fault {
    match error {
        ureq::Error::Timeout(ureq::Timeout::PerCall) => {
            Fault::Passing(format!("the server did not come to an end in {} s", ATTEMPT.as_secs()))
        }
        ureq::Error::Timeout(_) => {
            Fault::Passing(format!("the server was silent for {} s", origin.silence.as_secs_f64()))
        }
        // TLS errors arrive this way: an invalid certificate does not get better by waiting.
        ureq::Error::Io(e) if e.kind() == io::ErrorKind::InvalidData => Fault::Lasting(e.to_string()),
        ureq::Error::Io(e) => Fault::Passing(e.to_string()),
        ureq::Error::HostNotFound => Fault::Passing("the name of the host is not known".into()),
        error @ (ureq::Error::ConnectionFailed | ureq::Error::Protocol(_)) => Fault::Passing(error.to_string()),
        error => Fault::Lasting(error.to_string()),
    }
}

/// Opens a file that starts from scratch.
fn begin(path: &Path) -> Result<File, Fault> {
    File::create(path).map_err(|e| disk(path, &e))
}

fn disk(path: &Path, e: &io::Error) -> Fault {
    Fault::Disk(UserError::file(
        path,
        format!(
            "it cannot be written: {e}; make room or name another folder with --data-dir. What was downloaded is kept, \
             and the same command goes on from there"
        ),
    ))
}

/// Size of a file in bytes, 0 when it does not exist.
fn length(path: &Path) -> Result<u64, UserError> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(UserError::file(path, format!("it cannot be read: {e}"))),
    }
}

/// Records where a fresh `.part` file comes from, so that it is not continued from another version of the file.
fn remember(path: &Path, url: &str, headers: &HeaderMap) -> Result<(), UserError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // A weak tag does not guarantee identical bytes.
    let validator = text(header::ETAG).filter(|tag| tag.starts_with('"')).or_else(|| text(header::LAST_MODIFIED));
    write_whole(path, format!("{url}\n{}\n", validator.unwrap_or_default()).as_bytes())
}

/// The validator recorded for this address.
fn remembered(path: &Path, url: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let same = lines.next() == Some(url);
    lines.next().filter(|v| same && !v.is_empty() && v.bytes().all(|b| (b' '..=b'~').contains(&b))).map(str::to_string)
}

/// `Content-Range: bytes start-end/total`, as far as it can be read.
#[derive(Debug, Default, PartialEq, Eq)]
struct ContentRange {
    start: Option<u64>,
    total: Option<u64>,
}

impl ContentRange {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Some((range, total)) = text.trim().strip_prefix("bytes ").and_then(|rest| rest.split_once('/')) else {
            return Self::default();
        };
        let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
        Self { start, total: total.trim().parse().ok() }
    }
}
