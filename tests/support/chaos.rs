//! A TCP proxy before Kafka's brokers that understands request frames, and so can
//! fail one client, or some of its requests, while others pass.
//!
//! It rewrites nothing. The brokers have a listener of their own for it, which
//! they advertise with its ports: a client that starts at the proxy stays there.
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// Between two looks at a mode that holds a connection.
const PAUSE: Duration = Duration::from_millis(10);
/// No request of a client is larger: another protocol, or a broken frame.
const MAX_FRAME: usize = 100 << 20;

/// ApiKeys of Kafka's protocol.
pub mod api {
    /// Produce.
    pub const PRODUCE: i16 = 0;
    /// Fetch.
    pub const FETCH: i16 = 1;
    /// ListOffsets.
    pub const LIST_OFFSETS: i16 = 2;
    /// Metadata.
    pub const METADATA: i16 = 3;
    /// OffsetCommit.
    pub const OFFSET_COMMIT: i16 = 8;
    /// OffsetFetch.
    pub const OFFSET_FETCH: i16 = 9;
    /// FindCoordinator.
    pub const FIND_COORDINATOR: i16 = 10;
    /// JoinGroup.
    pub const JOIN_GROUP: i16 = 11;
    /// Heartbeat of classic groups.
    pub const HEARTBEAT: i16 = 12;
    /// LeaveGroup.
    pub const LEAVE_GROUP: i16 = 13;
    /// SyncGroup.
    pub const SYNC_GROUP: i16 = 14;
    /// Heartbeat of KIP-848 groups.
    pub const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
}

/// What happens to the connections of one client.id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing.
    #[default]
    Pass,
    /// The network is cut without anybody being told: nothing passes, either way;
    /// connections stay, and what was held goes on when the mode ends.
    Blackhole,
    /// Connections are closed, new ones too.
    Cut,
    /// Requests of these ApiKeys vanish; they are never answered.
    Drop(Vec<i16>),
    /// Requests of these ApiKeys reach the broker, but this client's answers are
    /// held from the first of them on, until the mode ends.
    HoldAnswers(Vec<i16>),
    /// Every request waits this long; they stay in order.
    Delay(Duration),
}

#[derive(Debug, Default)]
struct State {
    modes: BTreeMap<String, Mode>,
    requests: BTreeMap<(String, i16), u64>,
}

/// A proxy with one port per broker. It ends with the test process.
#[derive(Debug)]
pub struct Chaos {
    ports: Vec<u16>,
    state: Arc<Mutex<State>>,
}

impl Chaos {
    /// Starts a proxy before brokers on these loopback ports (which need not
    /// listen yet).
    pub fn start(brokers: &[u16]) -> Chaos {
        let state = Arc::new(Mutex::new(State::default()));
        let listen = |&broker: &u16| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
            let port = listener.local_addr().expect("a bound socket has an address").port();
            let state = Arc::clone(&state);
            thread::spawn(move || accept(&listener, broker, &state));
            port
        };
        Chaos { ports: brokers.iter().map(listen).collect(), state }
    }

    /// The proxy's ports, in the order of the brokers.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Sets what happens to a client from now on.
    pub fn set(&self, client_id: &str, mode: Mode) {
        lock(&self.state).modes.insert(client_id.to_owned(), mode);
    }

    /// How many requests of each ApiKey a client has sent, dropped ones included.
    pub fn requests_by_api(&self, client_id: &str) -> BTreeMap<i16, u64> {
        let state = lock(&self.state);
        let of_client = state.requests.iter().filter(|((id, _), _)| id == client_id);
        of_client.map(|((_, api), count)| (*api, *count)).collect()
    }

    /// How many requests of an ApiKey a client has sent, dropped ones included.
    pub fn requests(&self, client_id: &str, api: i16) -> u64 {
        lock(&self.state).requests.get(&(client_id.to_owned(), api)).copied().unwrap_or(0)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("nobody panics while holding it")
}

fn accept(listener: &TcpListener, broker: u16, state: &Arc<Mutex<State>>) {
    for client in listener.incoming().flatten() {
        let Ok(server) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
        let connection = Arc::new(Connection { client, server, state: Arc::clone(state), known: Mutex::default() });
        let answers = Arc::clone(&connection);
        thread::spawn(move || connection.run(Connection::requests));
        thread::spawn(move || answers.run(Connection::answers));
    }
}

/// One client's connection to one broker: a thread for each direction.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    state: Arc<Mutex<State>>,
    /// Filled by the first request.
    known: Mutex<Known>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

#[derive(Default)]
struct Known {
    client_id: String,
    /// A request was sent whose answer (and all after it) is held.
    holding: bool,
}

impl Connection {
    fn run(&self, direction: fn(&Connection) -> io::Result<()>) {
        // An error is the connection's end, which the other side is told.
        let _ = self.client.set_nodelay(true).and_then(|()| self.server.set_nodelay(true));
        let _ = direction(self);
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    fn requests(&self) -> io::Result<()> {
        loop {
            let frame = read_frame(&self.client)?;
            let (api, client_id) = header(&frame)?;
            self.known().client_id.clone_from(&client_id);
            *lock(&self.state).requests.entry((client_id, api)).or_default() += 1;
            self.pass(Direction::Requests)?;
            match self.mode() {
                Mode::Drop(apis) if apis.contains(&api) => continue,
                Mode::HoldAnswers(apis) if apis.contains(&api) => self.known().holding = true,
                Mode::Delay(delay) => thread::sleep(delay),
                _ => {}
            }
            (&self.server).write_all(&frame)?;
        }
    }

    fn answers(&self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = (&self.server).read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.pass(Direction::Answers)?;
            (&self.client).write_all(&buffer[..n])?;
        }
    }

    /// Waits while the mode holds `direction`; an error where the connection is cut.
    fn pass(&self, direction: Direction) -> io::Result<()> {
        loop {
            let mode = self.mode();
            let mut known = self.known();
            known.holding &= matches!(mode, Mode::HoldAnswers(_));
            match mode {
                Mode::Cut => return Err(ErrorKind::ConnectionAborted.into()),
                Mode::Blackhole => {}
                Mode::HoldAnswers(_) if known.holding && direction == Direction::Answers => {}
                _ => return Ok(()),
            }
            drop(known);
            thread::sleep(PAUSE);
        }
    }

    fn mode(&self) -> Mode {
        let id = self.known().client_id.clone();
        lock(&self.state).modes.get(&id).cloned().unwrap_or_default()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nobody panics while holding it")
    }
}

/// One request with its length before it.
fn read_frame(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let size = u32::from_be_bytes(length) as usize;
    if size > MAX_FRAME {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

/// ApiKey and client.id of a request: request header version 1 or 2 (Kafka's
/// protocol guide): length, ApiKey, version, correlation id, client.id.
fn header(frame: &[u8]) -> io::Result<(i16, String)> {
    let short = |at: usize| frame.get(at..at + 2).map(|b| i16::from_be_bytes([b[0], b[1]]));
    let (Some(api), Some(length)) = (short(4), short(12)) else {
        return Err(ErrorKind::InvalidData.into());
    };
    // −1 is a null string.
    let length = usize::try_from(length).unwrap_or(0);
    let id = frame.get(14..14 + length).ok_or(ErrorKind::InvalidData)?;
    Ok((api, String::from_utf8_lossy(id).into_owned()))
}
