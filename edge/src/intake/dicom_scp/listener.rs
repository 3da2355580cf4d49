//! The port: one thread a connection, and none of them for long without an association.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Scp, association};

/// How often a thread that waits looks at the stop signal and the clock.
const POLL: Duration = Duration::from_millis(200);
/// Connections that have no association. When one more comes, the oldest of the busiest address is closed: connections
/// that say nothing hold nobody up.
const WAITING: usize = 16;
/// How long to leave a system alone that has no file or thread left.
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(200);
/// After the last word a peer has so long, and so many bytes, to close: closing first could take the word from it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// The stop signal, as every thread sees it.
pub(super) type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// Begins to serve a listener.
pub(super) fn spawn(listener: TcpListener, scp: Arc<Scp>, stop: Stop) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let name = "dicom port".to_owned();
    thread::Builder::new()
        .name(name)
        .spawn(move || Port::new(scp, stop).run(&listener))
}

struct Port {
    scp: Arc<Scp>,
    stop: Stop,
    waiting: Arc<Waiting>,
    threads: Vec<JoinHandle<()>>,
}

impl Port {
    fn new(scp: Arc<Scp>, stop: Stop) -> Self {
        Self {
            scp,
            stop,
            waiting: Arc::default(),
            threads: Vec::new(),
        }
    }

    fn run(mut self, listener: &TcpListener) {
        while !(self.stop)() {
            match next(listener) {
                Ok(Some((stream, peer))) => self.admit(stream, peer),
                Ok(None) => {}
                Err(error) => {
                    self.scp.problem(format!("no connection can be accepted: {error}"));
                    thread::sleep(PAUSE_AFTER_FAULT);
                }
            }
            let (ended, running) = self.threads.into_iter().partition(|thread| thread.is_finished());
            self.threads = running;
            join(ended);
        }
        join(self.threads);
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let peers = &self.scp.config.peers;
        if !peers.is_empty() && !peers.contains(&address) {
            self.scp.problem(format!(
                "{address} may not connect; if it should, add it to appliance.dicom.peers"
            ));
            self.scp.statistics.rejected();
            return;
        }
        if let Err(error) = self.begin(stream, address) {
            self.scp
                .problem(format!("{address}: the connection cannot be served: {error}"));
            self.scp.statistics.rejected();
            thread::sleep(PAUSE_AFTER_FAULT);
        }
    }

    fn begin(&mut self, stream: TcpStream, address: IpAddr) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(POLL))?;
        stream.set_write_timeout(Some(self.scp.limits.idle))?;
        let entry = Waiting::enter(&self.waiting, address, stream.try_clone()?);
        let (scp, stop) = (self.scp.clone(), self.stop.clone());
        let serve = move || serve(&scp, &stream, address, &*stop, entry);
        self.threads
            .push(thread::Builder::new().name("dicom".to_owned()).spawn(serve)?);
        Ok(())
    }
}

fn serve(scp: &Scp, stream: &TcpStream, address: IpAddr, stop: &dyn Fn() -> bool, entry: Entry) {
    let mut entry = Some(entry);
    association::serve(scp, stream, &address.to_string(), stop, || entry = None);
    // Whoever lingers without an association can be closed like any other that waits.
    linger(stream, stop);
}

/// Says that nothing more will be sent, and waits until the peer has heard it.
fn linger(mut stream: &TcpStream, stop: &dyn Fn() -> bool) {
    let begin = Instant::now();
    let mut rest = [0; 4096];
    let mut bytes = 0;
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    while begin.elapsed() < LINGER && bytes < LINGER_BYTES && !stop() {
        match stream.read(&mut rest) {
            Ok(0) => return,
            Ok(more) => bytes += more,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}

/// The next connection, if one comes soon.
fn next(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    let timeout = Timespec::try_from(POLL).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    match listener.accept() {
        Ok(connection) => Ok(Some(connection)),
        // It was there, and is gone again.
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => Ok(None),
        Err(error) => Err(error),
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("dicom: the thread of a connection panicked");
        }
    }
}

/// The connections without an association.
#[derive(Default)]
struct Waiting(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    next: u64,
    connections: BTreeMap<u64, (IpAddr, TcpStream)>,
}

impl Waiting {
    /// Enters a connection, and closes another one if there are too many.
    fn enter(waiting: &Arc<Self>, address: IpAddr, stream: TcpStream) -> Entry {
        let mut queue = waiting.queue();
        let number = queue.next;
        queue.next += 1;
        queue.connections.insert(number, (address, stream));
        if queue.connections.len() > WAITING {
            queue.close_one();
        }
        drop(queue);
        Entry {
            waiting: waiting.clone(),
            number,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Closes the oldest connection of the address that has the most; its thread ends by itself.
    fn close_one(&mut self) {
        let mut of_address: BTreeMap<IpAddr, Vec<u64>> = BTreeMap::new();
        for (&number, &(address, _)) in &self.connections {
            of_address.entry(address).or_default().push(number);
        }
        let busiest = of_address.values().max_by_key(|numbers| numbers.len());
        let oldest = busiest.and_then(|numbers| self.connections.remove(&numbers[0]));
        if let Some((_, stream)) = oldest {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A place among those that wait, until it goes.
struct Entry {
    waiting: Arc<Waiting>,
    number: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.waiting.queue().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_floods_loses_its_own_oldest_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let waiting = Arc::new(Waiting::default());
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (scanner, flooder) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let patient = Waiting::enter(&waiting, scanner, connect());
        let flood: Vec<_> = (0..WAITING)
            .map(|_| Waiting::enter(&waiting, flooder, connect()))
            .collect();
        let there = |entry: &Entry| waiting.queue().connections.contains_key(&entry.number);
        assert!(there(&patient) && !there(&flood[0]));
        assert!(flood[1..].iter().all(there));
        drop(flood);
        assert_eq!(waiting.queue().connections.len(), 1);
    }
}
