//! One address before several bridges, as a Kubernetes service is.
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Connections go to the backends in turn; one that refuses is passed over.
pub struct Balancer {
    address: String,
    backends: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    pub fn start() -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        let backends = Arc::new(Mutex::new(Vec::new()));
        let mine = Arc::clone(&backends);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Some(server) = connect(&mine) {
                    join(client, server);
                }
            }
        });
        Balancer { address, backends }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// New connections go to these.
    pub fn set(&self, backends: Vec<String>) {
        *self.backends.lock().expect("nobody panics while holding it") = backends;
    }
}

fn connect(backends: &Mutex<Vec<String>>) -> Option<TcpStream> {
    let mut backends = backends.lock().expect("nobody panics while holding it");
    for _ in 0..backends.len() {
        backends.rotate_left(1);
        if let Ok(stream) = TcpStream::connect(&backends[0]) {
            return Some(stream);
        }
    }
    None
}

fn join(client: TcpStream, server: TcpStream) {
    let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
    for (mut from, mut to) in [(client, server), (server_too, client_too)] {
        thread::spawn(move || {
            // An error is the connection's end, which the other side is told.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}
