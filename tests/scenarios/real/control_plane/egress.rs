//! The way from the API server into the cluster: a CONNECT proxy on a Unix socket.
//!
//! There is no network of pods here. What the API server calls by a Service's address is led to a port of this
//! machine, as the test says; loopback addresses are called as they are. Threads, not tasks: a tokio runtime dies with
//! its test, and the proxy serves all tests.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// Where calls go, by the address that the API server asks for: to the first, and the next call to the next.
type Routes = Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>;

/// A running proxy. It ends with the process.
#[derive(Debug)]
pub(crate) struct Egress {
    routes: Routes,
}

impl Egress {
    /// Listens on `socket`, in place of what an earlier attempt left there.
    pub(crate) fn start(socket: &Path) -> io::Result<Self> {
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        let routes = Routes::default();
        let of_proxy = Arc::clone(&routes);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let routes = Arc::clone(&of_proxy);
                // What fails here the API server sees as a webhook that can't be reached.
                thread::spawn(move || carry(&stream, &routes));
            }
        });
        Ok(Self { routes })
    }

    /// From now on calls to `asked` (`host:port`) go to these in turn. Open connections stay as they are.
    pub(crate) fn route(&self, asked: &str, to: &[SocketAddr]) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.insert(asked.to_owned(), to.to_vec());
    }
}

fn carry(stream: &UnixStream, routes: &Routes) -> io::Result<()> {
    let asked = asked(stream)?;
    let mut answers = stream;
    let Some(server) = target(&asked, routes).and_then(|to| TcpStream::connect(to).ok()) else {
        return answers.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    };
    server.set_nodelay(true)?;
    answers.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut up_from, mut up_to) = (stream.try_clone()?, server.try_clone()?);
    let upwards = thread::spawn(move || {
        let _ = io::copy(&mut up_from, &mut up_to);
        let _ = up_to.shutdown(Shutdown::Write);
    });
    let (mut down_from, mut down_to) = (&server, stream);
    let copied = io::copy(&mut down_from, &mut down_to);
    let _ = stream.shutdown(Shutdown::Both);
    let _ = upwards.join();
    copied.map(drop)
}

/// The `host:port` of the CONNECT request. Nothing follows it before our answer.
fn asked(stream: &UnixStream) -> io::Result<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let asked = first
        .strip_prefix("CONNECT ")
        .and_then(|it| it.split(' ').next());
    asked
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(first))
}

fn target(asked: &str, routes: &Routes) -> Option<SocketAddr> {
    let mut routes = routes.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(servers) = routes.get_mut(asked) else {
        return asked
            .parse()
            .ok()
            .filter(|it: &SocketAddr| it.ip().is_loopback());
    };
    let next = servers.first().copied();
    servers.rotate_left(usize::from(next.is_some()));
    next
}
