//! Progress of a fetch on the terminal: a bar, or a line every ten percent if there is no terminal.

use super::Event;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// Without a total, a line is printed every time this many bytes have arrived.
const LINE_BYTE: u64 = 20_000_000;

/// Shows events as they come.
pub(super) struct Show {
    url: String,
    bar: Option<ProgressBar>,
    total: Option<u64>,
    next_line: u64,
}

impl Show {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_string(), bar: None, total: None, next_line: 0 }
    }

    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Started { have, total } => self.start(have, total),
            Event::Received { have } => self.receive(have),
            Event::Retrying { reason, wait } => {
                self.end();
                crate::say_line!("{reason}; trying again in {:.0} s", wait.as_secs_f64());
            }
            Event::Checking => {
                self.end();
                crate::say_line!("checking the digest");
            }
            Event::Unpacking => crate::say_line!("unpacking"),
        }
    }

    /// Removes the bar.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn start(&mut self, have: u64, total: Option<u64>) {
        self.end();
        let bytes = |n: u64| HumanBytes(n).to_string();
        let of = total.map_or(String::new(), |total| format!(", {}", bytes(total)));
        let after = if have > 0 { format!("; going on after {}", bytes(have)) } else { String::new() };
        crate::say_line!("{}{of}{after}", self.url);
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:24} {bytes} of {total_bytes}  {bytes_per_sec}, {eta} to go"),
            None => (ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}"),
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        // Bytes that were already there do not count towards the speed.
        let bar = bar.with_position(have);
        bar.reset_eta();
        self.total = total;
        self.next_line = self.line_after(have);
        self.bar = Some(bar);
    }

    fn receive(&mut self, have: u64) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(have);
        if bar.is_hidden() && have >= self.next_line {
            match self.total {
                Some(total) => crate::say_line!("{:3} %  {}", have * 100 / total.max(1), HumanBytes(have)),
                None => crate::say_line!("{}", HumanBytes(have)),
            }
            self.next_line = self.line_after(have);
        }
    }

    /// The first number of bytes after `have` at which to print a line.
    fn line_after(&self, have: u64) -> u64 {
        match self.total {
            Some(total) => {
                let tenth = have * 10 / total.max(1) + 1;
                (tenth * total).div_ceil(10).max(have + 1)
            }
            None => (have / LINE_BYTE + 1) * LINE_BYTE,
        }
    }
}
