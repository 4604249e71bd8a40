//! Proof that audit files are what a head wrote: offline, streaming, without a service.
//!
//! What must hold: any change of a byte, any line that is missing, inserted, doubled or moved is
//! found, but for what a [`Report`] says it cannot see.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use zone_crypto::sign::PublicKey;
use zone_types::Timestamp;

use crate::chain::{self, ChainHead, EpochNote, EpochReason, LINES_PER_CHECKPOINT};

/// A head never leaves more lines than this between checkpoints, crashes included.
const MAX_UNSIGNED: u64 = LINES_PER_CHECKPOINT + 100;
/// Longest line.
const MAX_LINE: u64 = 64 * 1024 * 1024;

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's index in the order of [`Report::files`].
    pub file: usize,
    /// The line's number in that file, from 1.
    pub line: u64,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its bytes are not those that were written.
    #[error("the line was changed")]
    Changed,
    /// Lines before it are gone.
    #[error("lines {first} to {last} of the chain are missing before this line")]
    Missing {
        /// Number of the first missing line.
        first: u64,
        /// Number of the last missing line.
        last: u64,
    },
    /// It does not belong here: it was added or doubled.
    #[error("the line was inserted")]
    Inserted,
    /// It stands before a line that it should follow.
    #[error("the lines were reordered")]
    Reordered,
    /// The checkpoint is not signed by the key.
    #[error("the checkpoint's signature is wrong, or made with another key")]
    BadSignature,
    /// There are more lines without a checkpoint than a head leaves.
    #[error("more than {LINES_PER_CHECKPOINT} lines have no signed checkpoint")]
    Unsigned,
    /// The head itself found the file changed when it opened it.
    #[error("the head found that the file did not end in the line that it had written last")]
    TamperedAtRest,
    /// A partial line stands where other lines or files follow.
    #[error("the line is not whole")]
    Torn,
}

/// The first broken line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Break {
    /// Where.
    pub place: Place,
    /// Why.
    pub fault: Fault,
}

/// What verification found. Read [`Report::notices`] with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The files in the order of the chain.
    pub files: Vec<PathBuf>,
    /// Whole lines.
    pub lines: u64,
    /// Lines up to the first broken one; equals `lines` if there is none.
    pub good_lines: u64,
    /// Checkpoints among the good lines.
    pub checkpoints: u64,
    /// Whether checkpoint signatures were checked against a key.
    pub signatures_checked: bool,
    /// Epochs among the good lines.
    pub epochs: u64,
    /// The number of the first line in the chain; above 1 if older files were not given.
    pub first_seq: u64,
    /// The last good line.
    pub head: Option<ChainHead>,
    /// The earliest instant of a good line.
    pub earliest: Option<Timestamp>,
    /// The latest instant of a good line.
    pub latest: Option<Timestamp>,
    /// The commit number in the last good checkpoint.
    pub last_revision: Option<u64>,
    /// Good lines behind the last checkpoint: covered by the chain only.
    pub lines_after_checkpoint: u64,
    /// Lines that no checkpoint had covered when a head started again (see `notices`).
    pub lines_before_restart: u64,
    /// Bytes of a partial line at the very end.
    pub torn_tail: u64,
    /// The first broken line.
    pub broken: Option<Break>,
}

impl Report {
    /// Whether every line is what was written, as far as can be seen.
    pub fn is_intact(&self) -> bool {
        self.broken.is_none()
    }

    /// What this verification cannot see, in sentences.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = Vec::new();
        if !self.signatures_checked {
            notices.push(
                "Signatures were not checked: no key was given. Whoever can write the file can \
                 have rewritten all of it."
                    .to_owned(),
            );
        }
        if self.first_seq > 1 {
            notices.push(format!(
                "The files begin at line {} of the chain. Nothing is said of the lines before.",
                self.first_seq
            ));
        }
        if self.broken.is_none() {
            notices.push(
                "A tail that was cut off cannot be seen in the files alone: compare the last line \
                 with the head's, or with a later copy."
                    .to_owned(),
            );
        }
        if self.lines_after_checkpoint > 0 {
            notices.push(format!(
                "{} lines after the last checkpoint are covered by the chain only: whoever can \
                 write the file can have replaced them.",
                self.lines_after_checkpoint
            ));
        }
        if self.lines_before_restart > 0 {
            notices.push(format!(
                "{} lines had no checkpoint yet when the head started again; until then they were \
                 covered by the chain only.",
                self.lines_before_restart
            ));
        }
        if self.torn_tail > 0 {
            notices.push(format!(
                "The file ends in {} bytes of a line that is not whole: a crash, a write that is \
                 going on, or a cut.",
                self.torn_tail
            ));
        }
        notices
    }
}

/// Verifies the files of one device: the current one and any rotated ones, in any order.
///
/// # Errors
///
/// A file cannot be read. What is wrong with its lines is in the report.
pub fn verify_files(paths: &[PathBuf], key: Option<&PublicKey>) -> io::Result<Report> {
    let files = in_chain_order(paths)?;
    let mut readers = Vec::with_capacity(files.len());
    for file in &files {
        readers.push(BufReader::with_capacity(256 * 1024, File::open(file)?));
    }
    let mut report = verify_readers(readers, key)?;
    report.files = files;
    Ok(report)
}

/// Verifies the contents of files that are in the order of the chain.
pub fn verify_readers<R: BufRead>(
    readers: impl IntoIterator<Item = R>,
    key: Option<&PublicKey>,
) -> io::Result<Report> {
    let mut check = Check::new(key);
    let mut line = Vec::new();
    for (file, mut reader) in readers.into_iter().enumerate() {
        check.begin_file(file);
        while read_line(&mut reader, &mut line)? {
            check.line(&line);
        }
    }
    Ok(check.finish())
}

/// One line that holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The file.
    pub file: PathBuf,
    /// The line's number in it, from 1.
    pub line: u64,
    /// The line.
    pub text: String,
}

/// Lines that hold `hmac` (`hmac-sha256:<hex>`, from `sys/audit-hash`), handed to `found` as they
/// come.
///
/// # Errors
///
/// A file cannot be read, or `hmac` has another form (`InvalidInput`).
pub fn search(paths: &[PathBuf], hmac: &str, mut found: impl FnMut(Hit)) -> io::Result<()> {
    let digits = hmac.strip_prefix("hmac-sha256:").unwrap_or_default();
    if digits.len() != 64
        || !digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        let text = "search for hmac-sha256: and 64 hex digits, as sys/audit-hash gives them";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let needle = format!("\"{hmac}\"");
    for file in in_chain_order(paths)? {
        let mut reader = BufReader::with_capacity(256 * 1024, File::open(&file)?);
        let mut line = Vec::new();
        let mut number = 0;
        while read_line(&mut reader, &mut line)? {
            number += 1;
            let text = String::from_utf8_lossy(&line);
            if text.contains(&needle) {
                let text = text.trim_end_matches('\n').to_owned();
                found(Hit {
                    file: file.clone(),
                    line: number,
                    text,
                });
            }
        }
    }
    Ok(())
}

/// Hands each whole line of `paths`, in the order of the chain, to `take`. Proves nothing: see
/// [`verify_files`].
pub fn each_line(paths: &[PathBuf], mut take: impl FnMut(&str)) -> io::Result<()> {
    for file in in_chain_order(paths)? {
        let mut reader = BufReader::with_capacity(256 * 1024, File::open(&file)?);
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line)? {
            if let Some(text) = line.strip_suffix(b"\n") {
                take(&String::from_utf8_lossy(text));
            }
        }
    }
    Ok(())
}

/// Sorts files by the number of their first line.
fn in_chain_order(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        files.push((first_seq(path)?, path.clone()));
    }
    files.sort_by_key(|(seq, _)| *seq);
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

fn first_seq(path: &Path) -> io::Result<u64> {
    let mut line = Vec::new();
    read_line(&mut BufReader::new(File::open(path)?), &mut line)?;
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    // A file whose first line cannot be read goes to the end, where it is reported.
    Ok(chain::parse(text).map_or(u64::MAX, |(head, _)| head.seq))
}

fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(io::Read::take(reader, MAX_LINE).read_until(b'\n', line)? > 0)
}

/// The fields of a line that verification reads.
#[derive(Deserialize)]
struct Fields {
    time: Timestamp,
    #[serde(rename = "type")]
    kind: String,
    epoch: Option<EpochNote>,
    checkpoint: Option<Checkpoint>,
}

#[derive(Deserialize)]
struct Checkpoint {
    lines: u64,
    revision: u64,
}

struct Check<'a> {
    key: Option<&'a PublicKey>,
    report: Report,
    head: Option<ChainHead>,
    place: Place,
    torn: Option<Place>,
    /// The broken line's claim, to tell a change from a move by what follows.
    suspect: Option<ChainHead>,
}

impl<'a> Check<'a> {
    fn new(key: Option<&'a PublicKey>) -> Self {
        let report = Report {
            signatures_checked: key.is_some(),
            ..Report::default()
        };
        let place = Place { file: 0, line: 0 };
        Self {
            key,
            report,
            head: None,
            place,
            torn: None,
            suspect: None,
        }
    }

    fn begin_file(&mut self, file: usize) {
        self.place = Place { file, line: 0 };
    }

    fn line(&mut self, line: &[u8]) {
        self.place.line += 1;
        if let Some(place) = self.torn.take() {
            self.report.torn_tail = 0;
            self.breaks_at(place, Fault::Torn);
        }
        let Some(text) = line.strip_suffix(b"\n") else {
            self.torn = Some(self.place.clone());
            self.report.torn_tail = line.len() as u64;
            return;
        };
        self.report.lines += 1;
        if self.report.broken.is_some() {
            return self.look_back(text);
        }
        match self.good(text) {
            Ok(()) => self.report.good_lines += 1,
            Err(fault) => {
                self.suspect = chain::parse(text).map(|(head, _)| head);
                self.breaks_at(self.place.clone(), fault);
            }
        }
    }

    fn breaks_at(&mut self, place: Place, fault: Fault) {
        self.report.broken.get_or_insert(Break { place, fault });
    }

    fn good(&mut self, text: &[u8]) -> Result<(), Fault> {
        let (claim, covered) = chain::parse(text).ok_or(Fault::Changed)?;
        let prior = match self.head {
            Some(head) => head,
            None => self.begin(text)?,
        };
        self.head = Some(prior);
        if chain::link(&prior.hash, covered) != claim.hash {
            return Err(self.mismatch(prior, claim));
        }
        let fields: Fields = serde_json::from_slice(text).map_err(|_| Fault::Changed)?;
        if claim.seq != prior.seq + 1 {
            return Err(Fault::Changed);
        }
        self.special(&fields, covered, prior, claim)?;
        if self.report.lines_after_checkpoint > MAX_UNSIGNED && self.key.is_some() {
            return Err(Fault::Unsigned);
        }
        self.head = Some(claim);
        self.report.head = Some(claim);
        let earliest = self
            .report
            .earliest
            .map_or(fields.time, |time| time.min(fields.time));
        let latest = self
            .report
            .latest
            .map_or(fields.time, |time| time.max(fields.time));
        (self.report.earliest, self.report.latest) = (Some(earliest), Some(latest));
        Ok(())
    }

    /// The first line of all names what it continues.
    fn begin(&mut self, text: &[u8]) -> Result<ChainHead, Fault> {
        let fields: Fields = serde_json::from_slice(text).map_err(|_| Fault::Changed)?;
        if let Some(note) = fields.epoch {
            self.report.first_seq = note.prior.seq + 1;
            return Ok(note.prior);
        }
        let claim = ChainHead::of_line(text).ok_or(Fault::Changed)?;
        Err(Fault::Missing {
            first: 1,
            last: claim.seq.saturating_sub(1),
        })
    }

    /// Epoch and checkpoint lines, and that the others stay in their epoch.
    fn special(
        &mut self,
        fields: &Fields,
        covered: &[u8],
        prior: ChainHead,
        claim: ChainHead,
    ) -> Result<(), Fault> {
        match (fields.kind.as_str(), &fields.epoch, &fields.checkpoint) {
            ("epoch", Some(note), None) => self.epoch(note, prior, claim),
            ("checkpoint", None, Some(checkpoint)) => {
                if checkpoint.lines != prior.seq || claim.epoch != prior.epoch {
                    return Err(Fault::Changed);
                }
                if let Some(key) = self.key
                    && !chain::checkpoint_signed(covered, &prior.hash, key)
                {
                    return Err(Fault::BadSignature);
                }
                self.report.checkpoints += 1;
                self.report.last_revision = Some(checkpoint.revision);
                self.report.lines_after_checkpoint = 0;
                Ok(())
            }
            ("epoch" | "checkpoint", ..) => Err(Fault::Changed),
            _ if claim.epoch != prior.epoch => Err(Fault::Changed),
            _ => {
                self.report.lines_after_checkpoint += 1;
                Ok(())
            }
        }
    }

    fn epoch(&mut self, note: &EpochNote, prior: ChainHead, claim: ChainHead) -> Result<(), Fault> {
        if note.prior != prior || claim.epoch <= prior.epoch {
            return Err(Fault::Changed);
        }
        if note.reason == EpochReason::Tampered || note.remembered.is_some() {
            return Err(Fault::TamperedAtRest);
        }
        if note.reason == EpochReason::Restart {
            self.report.lines_before_restart += self.report.lines_after_checkpoint;
        }
        self.report.epochs += 1;
        self.report.lines_after_checkpoint += 1;
        Ok(())
    }

    /// The hash does not fit: what the line's own number says of it.
    fn mismatch(&self, prior: ChainHead, claim: ChainHead) -> Fault {
        let next = prior.seq + 1;
        if claim.seq > next {
            Fault::Missing {
                first: next,
                last: claim.seq - 1,
            }
        } else if claim.seq < next {
            Fault::Inserted
        } else {
            Fault::Changed
        }
    }

    /// After the break: if the line that was expected comes later, the broken one was put before
    /// it.
    fn look_back(&mut self, text: &[u8]) {
        let (Some(prior), Some(found)) = (self.head, self.report.broken.as_mut()) else {
            return;
        };
        if !matches!(found.fault, Fault::Changed | Fault::Missing { .. }) {
            return;
        }
        let Some((claim, covered)) = chain::parse(text) else {
            return;
        };
        if claim.seq == prior.seq + 1 && chain::link(&prior.hash, covered) == claim.hash {
            let later = self.suspect.is_some_and(|suspect| suspect.seq > claim.seq);
            found.fault = if later {
                Fault::Reordered
            } else {
                Fault::Inserted
            };
        }
    }

    fn finish(mut self) -> Report {
        if self.report.broken.is_none() {
            self.report.good_lines = self.report.lines;
        }
        self.report
    }
}
