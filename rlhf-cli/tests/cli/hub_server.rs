//! A hub of one model, in this process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The commit that `main` stands for.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server of the model `org/tiny`. It answers until the test process ends.
pub(crate) struct Hub {
    pub(crate) endpoint: String,
    state: Arc<State>,
}

struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// Without it, nothing is shown.
    token: Option<&'static str>,
    asked: Mutex<Vec<String>>,
}

impl Hub {
    /// Serves the files of a folder and these.
    pub(crate) fn serve(dir: &Path, more: &[(&str, &str)], token: Option<&'static str>) -> Self {
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        };
        let mut files: BTreeMap<_, _> = fs::read_dir(dir).unwrap().map(read).collect();
        for (name, text) in more {
            files.insert((*name).to_owned(), text.as_bytes().to_vec());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            files,
            token,
            asked: Mutex::default(),
        });
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is no concern of the others.
                served.answer(stream.unwrap()).ok();
            }
        });
        Self { endpoint, state }
    }

    /// The paths that were asked for, each once.
    pub(crate) fn asked(&self) -> Vec<String> {
        let mut asked = self.state.asked.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }
}

impl State {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        self.asked.lock().unwrap().push(path.clone());
        let shown = self.token.is_none_or(|token| {
            headers.get("authorization").map(String::as_str) == Some(&format!("Bearer {token}"))
        });
        if !shown {
            return reply(&mut stream, "401 Unauthorized", "", b"");
        }
        let listed = ["main", COMMIT].map(|rev| format!("/api/models/org/tiny/revision/{rev}"));
        if listed.contains(&path) {
            let names = self.files.keys();
            let siblings: Vec<_> = names
                .map(|name| serde_json::json!({"rfilename": name}))
                .collect();
            let info = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
            return reply(&mut stream, "200 OK", "", info.as_bytes());
        }
        let file = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"));
        let Some((name, bytes)) = file.and_then(|file| self.files.get_key_value(file)) else {
            return reply(&mut stream, "404 Not Found", "", b"");
        };
        let range = headers
            .get("range")
            .and_then(|range| range.strip_prefix("bytes="));
        let (start, end) = range
            .and_then(|range| range.split_once('-'))
            .unwrap_or_default();
        let start: usize = start.parse().unwrap_or(0);
        let end = end
            .parse()
            .map_or(bytes.len(), |end: usize| end + 1)
            .min(bytes.len());
        let more = format!(
            "ETag: \"{}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {start}-{}/{}\r\n",
            name.replace('.', "-"),
            end - 1,
            bytes.len()
        );
        reply(
            &mut stream,
            "206 Partial Content",
            &more,
            &bytes[start..end],
        )
    }
}

fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)?;
    stream.flush()
}
