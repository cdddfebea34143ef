//! The log's copy of an answer, with a bound.

use crate::platform::allotment::{Allotment, GrowingAllotment};
use crate::platform::blocks::{Byob, FIRST_BLOCK, LAST_BLOCK, block, buffer, joined, reader_of};
use crate::platform::js::Watch;
use crate::platform::{pause, within};
use crate::wire::scan::Scanner;
use crate::wire::{Facts, Framing};
use futures_util::future::{Either, select};
use js_sys::{ArrayBuffer, Uint8Array};
use std::pin::pin;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{ReadableStream, Response};

/// How often a copy is looked after while its client reads, in milliseconds: soon at first, rarely where little comes.
const FIRST_LOOK_MS: u64 = 200;
const LAST_LOOK_MS: u64 = 10_000;

/// A look that finds this much, in bytes, is followed by another one soon.
const MUCH: u64 = 1024 * 1024;

/// What has come already is read within this time, in milliseconds.
const AT_HAND_MS: u64 = 50;

/// A copy that cannot wait for the client makes the runtime keep what the client has not read, up to so many bytes.
pub const MAX_AHEAD: u64 = 32 * 1024 * 1024;

/// How long a copy that is read ahead waits for more to come together, in milliseconds.
const AHEAD_PAUSE_MS: u64 = 100;

/// A body as far as it is kept: whole, or only what it says of itself.
pub struct Copied {
    pub length: u64,
    is_whole: bool,
    limit: u64,
    pieces: Vec<Uint8Array>,
    allotment: Allotment,
    /// How a body is read that is too long to be kept.
    form: Option<Form>,
    scanner: Option<Box<Scanner>>,
    unread: Option<&'static str>,
}

/// How the bytes of an answer are framed, and its status.
pub type Form = (Framing, u16);

/// Why a copy ends before its stream.
pub enum Ended {
    ClientLeft,
    Broken(JsValue),
}

/// Copies the log's branch of a stream while the client reads the other one, which `sent` is about.
///
/// The client is followed and never overtaken by more than a chunk, because the runtime keeps without bound what one branch
/// of a stream has read and the other has not.
pub async fn follow(
    ours: &ReadableStream,
    sent: JsFuture,
    (limit, form): (u64, Option<Form>),
    has_left: impl Fn() -> bool,
    watch: &Watch,
) -> (Copied, Option<Ended>) {
    let mut copy = Copied::new(limit, form);
    let ended = copy.follow(ours, sent, has_left, watch).await;
    watch.end();
    (copy, ended.err())
}

/// Copies a stream as it comes, and no more than `bound` bytes of it. It has to come through a pipe: what is asked for at once
/// of a branch delays the other one.
pub async fn ahead(
    stream: &ReadableStream,
    (limit, form): (u64, Option<Form>),
    bound: u64,
    watch: &Watch,
) -> (Copied, Option<Ended>) {
    let mut copy = Copied::new(limit, form);
    let ended = async {
        let reader = reader_of(stream)?;
        if !copy.read_ahead(&reader, bound, watch).await? {
            watch.end();
            copy.unread = Some("of a compressed answer 32 MB are read");
            JsFuture::from(reader.cancel()).await?;
        }
        Ok(())
    };
    let ended: Result<(), JsValue> = ended.await;
    watch.end();
    (copy, ended.err().map(Ended::Broken))
}

// === impl Ended ===

impl From<JsValue> for Ended {
    fn from(error: JsValue) -> Self {
        Self::Broken(error)
    }
}

// === impl Copied ===

impl Copied {
    /// Keeps up to `limit` bytes whole.
    pub fn new(limit: u64, form: Option<Form>) -> Self {
        let (pieces, allotment) = (Vec::new(), Allotment::default());
        Self { length: 0, is_whole: true, limit, pieces, allotment, form, scanner: None, unread: None }
    }

    /// A body that is there already, with the room it takes.
    pub fn of(buffer: &ArrayBuffer, allotment: Allotment) -> Self {
        let length = u64::from(buffer.byte_length());
        Self { length, pieces: vec![Uint8Array::new(buffer)], allotment, ..Self::new(u64::MAX, None) }
    }

    /// The room that the copy takes, for a step that goes on to hold it as a buffer.
    pub fn allotment(&mut self) -> Allotment {
        std::mem::take(&mut self.allotment)
    }

    /// All bytes, if they are no more than `limit`.
    pub fn bytes(&self, limit: usize) -> Option<Vec<u8>> {
        (self.is_whole && self.length <= limit as u64).then(|| joined(&self.pieces, limit, false))
    }

    /// Up to so many bytes of the beginning of a body that is there as a whole.
    pub fn beginning(&self, most: usize) -> Option<Vec<u8>> {
        self.is_whole.then(|| joined(&self.pieces, most, false))
    }

    /// What a body says of itself that is too long to be looked at as a whole, and why that is not all.
    pub fn facts(&mut self, form: Form) -> (Facts, Option<&'static str>) {
        if self.scanner.is_none() && self.is_whole {
            self.form = Some(form);
            self.scan_pieces();
        }
        let (facts, unread) = self.scanner.take().map(|scanner| scanner.finish()).unwrap_or_default();
        (facts, unread.or(self.unread))
    }

    /// The whole body as the runtime takes it.
    pub async fn buffer(&self) -> Option<ArrayBuffer> {
        if self.is_whole { buffer(&self.pieces).await.ok() } else { None }
    }

    async fn follow(
        &mut self,
        ours: &ReadableStream,
        sent: JsFuture,
        has_left: impl Fn() -> bool,
        watch: &Watch,
    ) -> Result<(), Ended> {
        let most = watch.look_ms(LAST_LOOK_MS);
        let mut sent = pin!(sent);
        let mut reader: Option<Byob> = None;
        let mut wait = FIRST_LOOK_MS;
        let (delivered, at_hand) = loop {
            if let Either::Left((delivered, _)) = select(sent.as_mut(), pin!(pause(wait))).await {
                break (delivered, true);
            }
            let made = match reader.take() {
                Some(made) => made,
                None => reader_of(ours)?,
            };
            let before = self.length;
            let looked = match select(sent.as_mut(), pin!(self.look(&made))).await {
                Either::Right((looked, _)) => Ok(looked),
                // The runtime takes no second question while one is open.
                Either::Left((delivered, looked)) if delivered.is_err() && has_left() => {
                    Err((delivered, within(AT_HAND_MS, looked).await.is_some()))
                }
                Either::Left((delivered, looked)) => {
                    looked.await?;
                    Err((delivered, true))
                }
            };
            reader = Some(made);
            match looked {
                Ok(looked) => match looked? {
                    true => watch.came(),
                    // The provider has sent all; the client may take its time.
                    false => watch.end(),
                },
                Err(ended) => break ended,
            }
            wait = if self.length - before >= MUCH { FIRST_LOOK_MS / 10 } else { (wait * 2).min(most) };
        };
        if delivered.is_ok() && reader.is_none() {
            // All of it has come, and it is no more than comes in a moment: one read is enough.
            let whole = Response::new_with_opt_readable_stream(Some(ours))?.array_buffer()?;
            let whole: ArrayBuffer = JsFuture::from(whole).await?.unchecked_into();
            self.push(Uint8Array::new(&whole));
            return Ok(());
        }
        let reader = match reader {
            Some(reader) => reader,
            None => reader_of(ours)?,
        };
        if delivered.is_ok() || !has_left() {
            return Ok(self.read_on(&reader).await?);
        }
        // The caller does not pay for tokens that no client reads: what has come is looked at, and the provider is told to stop.
        if at_hand {
            let _ = within(AT_HAND_MS, self.look(&reader)).await;
        }
        let _ = JsFuture::from(reader.cancel()).await;
        Err(Ended::ClientLeft)
    }

    /// Reads what has come, and if that is nothing, what comes next. False at the end.
    async fn look(&mut self, reader: &Byob) -> Result<bool, JsValue> {
        let mut size = FIRST_BLOCK;
        while let Some(piece) = block(reader, 1, size).await? {
            let is_last = piece.byte_length() < size;
            self.push(piece);
            if is_last {
                return Ok(true);
            }
            size = (size * 2).min(LAST_BLOCK);
        }
        Ok(false)
    }

    /// Reads to the end.
    async fn read_on(&mut self, reader: &Byob) -> Result<(), JsValue> {
        let mut size = FIRST_BLOCK;
        while let Some(piece) = block(reader, size, size).await? {
            self.push(piece);
            size = (size * 2).min(LAST_BLOCK);
        }
        Ok(())
    }

    /// Reads to the end, or until there are more than `bound` bytes. True at the end.
    async fn read_ahead(&mut self, reader: &Byob, bound: u64, watch: &Watch) -> Result<bool, JsValue> {
        let mut size = FIRST_BLOCK;
        // Read ahead of the client, all of it is also kept by the runtime, until the client has it.
        let mut ahead = GrowingAllotment::default();
        // A reader that waits for a whole block does not see half a one, which would pass for nothing.
        while let Some(piece) = block(reader, if watch.is_on() { 1 } else { size }, size).await? {
            watch.came();
            let is_whole = piece.byte_length() == size;
            let fits = ahead.add(u64::from(piece.byte_length()));
            self.push(piece);
            if self.length > bound || !fits {
                return Ok(false);
            }
            if is_whole {
                size = (size * 2).min(LAST_BLOCK);
            } else if watch.is_on() {
                pause(AHEAD_PAUSE_MS).await;
            }
        }
        Ok(true)
    }

    pub fn push(&mut self, piece: Uint8Array) {
        let more = u64::from(piece.byte_length());
        self.length += more;
        if !self.is_whole {
            return self.scan(&piece);
        }
        self.pieces.push(piece);
        if self.length > self.limit || !self.allotment.grow(self.length, more) {
            self.is_whole = false;
            self.allotment = Allotment::default();
            self.scan_pieces();
        }
    }

    /// From now on nothing is kept, and what comes is only read.
    fn scan_pieces(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        let Some((framing, status)) = self.form else { return };
        self.scanner = Some(Box::new(Scanner::new(framing, status)));
        pieces.iter().for_each(|piece| self.scan(piece));
    }

    fn scan(&mut self, piece: &Uint8Array) {
        let Some(scanner) = &mut self.scanner else { return };
        let length = piece.byte_length();
        for from in (0..length).step_by(LAST_BLOCK as usize) {
            scanner.push(&piece.subarray(from, length.min(from.saturating_add(LAST_BLOCK))).to_vec());
        }
    }
}
