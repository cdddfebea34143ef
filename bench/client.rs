//! What wrk cannot measure: when each event of a stream arrives, a fixed number of requests a second, readers that are slow,
//! and how soon a log can be read. A thread per connection, nothing but the standard library. Ends with a line of JSON.
//!
//! `client MODE URL [--name value]…`, where a mode is
//! - `streams`: `--clients` connections read `--rounds` answers each, at no more than `--speed` bytes a second;
//! - `rate`: `--rate` requests a second for `--seconds`, over `--clients` connections; a time counts from when the request was due;
//! - `logs`: `--rounds` requests one by one, each followed by `GET` of `--logs`/{cf-aig-log-id} until that answers 200.
//!
//! `--header "name: value"` and `--log-header` may be repeated; `--body` and `--expected` are files; `--spread` is over how many
//! ms the clients begin; `--dated 1` says that the events tell when they were sent; of each connection the first `--skip` answers
//! are counted, but their times are not.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct Options {
    address: String,
    request: Vec<u8>,
    expected: Option<Vec<u8>>,
    clients: u64,
    rounds: u64,
    rate: u64,
    seconds: u64,
    spread: u64,
    speed: u64,
    dated: bool,
    skip: u64,
    /// The request for a log, with `{id}` in it.
    log: String,
}

#[derive(Default)]
struct Seen {
    answers: u64,
    failed: u64,
    wrong: u64,
    first: Vec<u64>,
    gaps: Vec<u64>,
    delays: Vec<u64>,
    whole: Vec<u64>,
    again: u64,
    trouble: String,
}

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options = Arc::new(Options::read(&args[2..], &args[1])?);
    let begun = Instant::now();
    let seen = match args[0].as_str() {
        "streams" => together(options.clients, &options, streams),
        "rate" => together(options.clients, &options, move |_, options, seen| rate(begun, options, seen)),
        "logs" => together(1, &options, |_, options, seen| logs(options, seen)),
        other => return Err(io::Error::other(format!("no mode {other}"))),
    };
    seen.print(begun.elapsed());
    Ok(())
}

/// The next request that is due, whichever connection is free.
static NEXT: AtomicU64 = AtomicU64::new(0);

fn together(
    clients: u64,
    options: &Arc<Options>,
    work: impl Fn(u64, &Options, &mut Seen) -> io::Result<()> + Copy + Send + 'static,
) -> Seen {
    let start = |n| {
        let options = options.clone();
        let run = move || {
            let mut seen = Seen::default();
            if let Err(error) = work(n, &options, &mut seen) {
                seen.fail(&error.to_string());
            }
            seen
        };
        thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap()
    };
    let threads: Vec<_> = (0..clients).map(start).collect();
    let mut all = Seen::default();
    threads.into_iter().for_each(|thread| all.add(thread.join().unwrap()));
    all
}

fn streams(n: u64, options: &Options, seen: &mut Seen) -> io::Result<()> {
    thread::sleep(Duration::from_micros(options.spread * 1000 * n / options.clients));
    let mut connection = None;
    for round in 0..options.rounds {
        one(&mut connection, &options.request, Instant::now(), options, seen);
        if round < options.skip {
            [&mut seen.first, &mut seen.gaps, &mut seen.delays, &mut seen.whole].map(Vec::clear);
        }
    }
    Ok(())
}

fn rate(begun: Instant, options: &Options, seen: &mut Seen) -> io::Result<()> {
    let mut connection = None;
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        if n >= options.rate * options.seconds {
            return Ok(());
        }
        let due = begun + Duration::from_micros(n * 1_000_000 / options.rate);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        one(&mut connection, &options.request, due, options, seen);
    }
}

fn logs(options: &Options, seen: &mut Seen) -> io::Result<()> {
    let (mut caller, mut reader) = (None, None);
    for _ in 0..options.rounds {
        let mut ignored = Seen::default();
        let Some(id) = one(&mut caller, &options.request, Instant::now(), options, &mut ignored) else {
            seen.fail(&format!("no log id: {}", ignored.trouble));
            continue;
        };
        let ended = Instant::now();
        let request = options.log.replace("{id}", &id);
        loop {
            let mut answer = Seen::default();
            one(&mut reader, request.as_bytes(), ended, options, &mut answer);
            if answer.answers == 1 {
                seen.answers += 1;
                seen.whole.push(micros(ended));
                break;
            }
            seen.again += 1;
            if ended.elapsed() > Duration::from_secs(30) {
                seen.fail(&answer.trouble);
                break;
            }
        }
    }
    Ok(())
}

/// One request and its answer over a connection that is kept. Returns the id of the log.
fn one(
    connection: &mut Option<BufReader<TcpStream>>,
    request: &[u8],
    due: Instant,
    options: &Options,
    seen: &mut Seen,
) -> Option<String> {
    match exchange(connection, request, due, options, seen) {
        Ok(id) => id,
        Err(error) => {
            *connection = None;
            seen.fail(&error.to_string());
            None
        }
    }
}

fn exchange(
    connection: &mut Option<BufReader<TcpStream>>,
    request: &[u8],
    due: Instant,
    options: &Options,
    seen: &mut Seen,
) -> io::Result<Option<String>> {
    let reader = match connection {
        Some(reader) => reader,
        None => {
            let stream = TcpStream::connect(&options.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            connection.insert(BufReader::with_capacity(64 * 1024, stream))
        }
    };
    reader.get_mut().write_all(request)?;
    let head = Head::read(reader)?;
    let mut body = Body { due, begun: Instant::now(), last: None, line: Vec::new(), at: 0, same: true, options, seen };
    head.body(reader, &mut body)?;
    let (same, at) = (body.same, body.at);
    if head.status != 200 {
        return Err(io::Error::other(format!("status {}", head.status)));
    }
    if !same || options.expected.as_ref().is_some_and(|expected| expected.len() != at) {
        seen.wrong += 1;
    }
    seen.answers += 1;
    seen.whole.push(micros(due));
    if head.closes {
        *connection = None;
    }
    Ok(head.log_id)
}

#[derive(Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    closes: bool,
    log_id: Option<String>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let mut head =
            Self { status: status.ok_or_else(|| io::Error::other("the connection was closed"))?, ..Self::default() };
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { return Ok(head) };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse().ok(),
                "transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => head.closes = value.eq_ignore_ascii_case("close"),
                "cf-aig-log-id" => head.log_id = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    fn body(&self, reader: &mut impl BufRead, body: &mut Body) -> io::Result<()> {
        if !self.chunked {
            return body.take(reader, self.length.unwrap_or(u64::MAX), self.length.is_none());
        }
        let mut line = String::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let size =
                u64::from_str_radix(line.trim(), 16).map_err(|_| io::Error::other("the answer was cut short"))?;
            body.take(reader, size, false)?;
            reader.read_line(&mut line)?;
            if size == 0 {
                return Ok(());
            }
        }
    }
}

struct Body<'a> {
    due: Instant,
    begun: Instant,
    /// When the event before came.
    last: Option<Instant>,
    line: Vec<u8>,
    at: usize,
    same: bool,
    options: &'a Options,
    seen: &'a mut Seen,
}

impl Body<'_> {
    fn take(&mut self, reader: &mut impl BufRead, mut left: u64, to_the_end: bool) -> io::Result<()> {
        while left > 0 {
            let piece = reader.fill_buf()?;
            if piece.is_empty() {
                return if to_the_end { Ok(()) } else { Err(io::Error::other("the answer was cut short")) };
            }
            let size = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            self.piece(&piece[..size]);
            reader.consume(size);
            left -= size as u64;
            if self.options.speed > 0 {
                let wanted = Duration::from_micros(self.at as u64 * 1_000_000 / self.options.speed);
                thread::sleep(wanted.saturating_sub(self.begun.elapsed()));
            }
        }
        Ok(())
    }

    fn piece(&mut self, piece: &[u8]) {
        let now = Instant::now();
        if let Some(expected) = &self.options.expected {
            self.same &= expected.get(self.at..self.at + piece.len()) == Some(piece);
        }
        self.at += piece.len();
        if !self.options.dated {
            return;
        }
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.line_came(now);
                self.line.clear();
            }
        }
    }

    fn line_came(&mut self, now: Instant) {
        let Some(sent) = sent_at(&String::from_utf8_lossy(&self.line)) else { return };
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
        self.seen.delays.push(u64::try_from(clock.saturating_sub(sent)).unwrap_or(u64::MAX));
        match self.last.replace(now) {
            Some(last) => self.seen.gaps.push(now.duration_since(last).as_micros() as u64),
            None => self.seen.first.push(now.duration_since(self.due).as_micros() as u64),
        }
    }
}

fn sent_at(line: &str) -> Option<u128> {
    let (_, rest) = line.split_once("\"@")?;
    rest.split_once(' ')?.0.parse().ok()
}

fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}

impl Seen {
    fn fail(&mut self, trouble: &str) {
        self.failed += 1;
        if self.trouble.is_empty() {
            self.trouble = trouble.to_owned();
        }
    }

    fn add(&mut self, other: Self) {
        self.answers += other.answers;
        self.failed += other.failed;
        self.wrong += other.wrong;
        self.again += other.again;
        self.first.extend(other.first);
        self.gaps.extend(other.gaps);
        self.delays.extend(other.delays);
        self.whole.extend(other.whole);
        if self.trouble.is_empty() {
            self.trouble = other.trouble;
        }
    }

    fn print(mut self, took: Duration) {
        let [first, gap, delay, whole] =
            [&mut self.first, &mut self.gaps, &mut self.delays, &mut self.whole].map(|times| percentiles(times));
        println!(
            r#"{{"answers":{},"failed":{},"wrong":{},"again":{},"took":{},"first":{first},"gap":{gap},"delay":{delay},"whole":{whole},"trouble":{:?}}}"#,
            self.answers,
            self.failed,
            self.wrong,
            self.again,
            took.as_micros(),
            self.trouble
        );
    }
}

fn percentiles(times: &mut [u64]) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    if times.is_empty() {
        return "null".to_owned();
    }
    format!(r#"{{"n":{},"p50":{},"p90":{},"p99":{},"max":{}}}"#, times.len(), at(0.5), at(0.9), at(0.99), at(1.0))
}

impl Options {
    fn read(args: &[String], url: &str) -> io::Result<Self> {
        let (address, path) = split(url)?;
        let (mut body, mut log_path, mut headers, mut log_headers) =
            (Vec::new(), String::new(), String::new(), String::new());
        let mut options = Self {
            address: address.clone(),
            request: Vec::new(),
            expected: None,
            clients: 1,
            rounds: 1,
            rate: 1,
            seconds: 1,
            spread: 0,
            speed: 0,
            dated: false,
            skip: 0,
            log: String::new(),
        };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(io::Error::other("an option without a value")) };
            let number = || value.parse::<u64>().map_err(|_| io::Error::other(format!("{name} {value} is no number")));
            match name.as_str() {
                "--header" => headers += &format!("{value}\r\n"),
                "--body" => body = std::fs::read(value)?,
                "--expected" => options.expected = Some(std::fs::read(value)?),
                "--logs" => log_path = split(value)?.1,
                "--log-header" => log_headers += &format!("{value}\r\n"),
                "--clients" => options.clients = number()?,
                "--rounds" => options.rounds = number()?,
                "--rate" => options.rate = number()?,
                "--seconds" => options.seconds = number()?,
                "--spread" => options.spread = number()?,
                "--speed" => options.speed = number()?,
                "--skip" => options.skip = number()?,
                "--dated" => options.dated = number()? > 0,
                other => return Err(io::Error::other(format!("no option {other}"))),
            }
        }
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{headers}content-length: {}\r\n\r\n", body.len());
        options.request = [head.as_bytes(), &body].concat();
        options.log = format!("GET {log_path}/{{id}} HTTP/1.1\r\nhost: {address}\r\n{log_headers}\r\n");
        Ok(options)
    }
}

fn split(url: &str) -> io::Result<(String, String)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other(format!("{url} is no http URL")))?;
    let (address, path) = rest.split_once('/').ok_or_else(|| io::Error::other(format!("{url} has no path")))?;
    Ok((address.to_owned(), format!("/{path}")))
}
