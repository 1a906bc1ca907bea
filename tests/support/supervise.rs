//! Processes that cannot outlive the test run.
//!
//! Between a test and each process that it starts stands a small `sh`, which
//! reads a pipe whose only writer is the test process. When the test process
//! ends, however it ends, the pipe closes and the shell kills its process: no
//! destructor, signal handler or process group has to hold for that.
use super::poll;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

/// `$1` is a directory to remove at the end (or empty), `$2` the base name of the
/// two log files, the rest the command. Prints the command's pid first.
const SUPERVISOR: &str = r#"
remove=$1 log=$2; shift 2
exec 3<&0
"$@" </dev/null >>"$log.out" 2>>"$log.err" 3<&- &
pid=$!
echo "$pid"
{ read -r _ <&3; kill -9 "$pid"; } 2>/dev/null &
watcher=$!
exec 3<&- </dev/null >/dev/null
wait "$pid"; code=$?
kill "$watcher" 2>/dev/null
[ -z "$remove" ] || rm -rf "$remove"
exit "$code"
"#;

const PORTS: Range<u16> = 20_000..32_000;

/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// A running process: killed when this is dropped or the test process ends.
#[derive(Debug)]
pub struct Supervised {
    name: String,
    pid: u32,
    log: PathBuf,
    shell: Mutex<Child>,
    lifeline: Option<ChildStdin>,
}

/// A signal that tests send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Asks to end.
    Term,
    /// As Ctrl-C.
    Int,
    /// Ends without warning.
    Kill,
    /// Freezes.
    Stop,
    /// Thaws.
    Cont,
    /// By convention: read the configuration again.
    Hup,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Cont => "CONT",
            Signal::Hup => "HUP",
        }
    }
}

impl Supervised {
    /// Starts `command` (its program, arguments, environment and directory; its
    /// streams go to log files of [`run_dir`]). `remove` is deleted at its end.
    pub fn start(name: &str, command: &Command, remove: Option<&Path>) -> Supervised {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let log = run_dir().join(format!("{number:03}-{name}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", SUPERVISOR, "supervisor"]);
        shell.arg(remove.unwrap_or(Path::new(""))).arg(&log);
        shell.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            shell.current_dir(dir);
        }
        // Its own group: Ctrl-C and `timeout` reach the test process, whose end
        // is what the supervisor waits for.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = shell.spawn().expect("sh runs");
        let lifeline = shell.stdin.take();
        let mut line = String::new();
        let pipe = shell.stdout.take().expect("stdout is piped");
        BufReader::new(pipe).read_line(&mut line).expect("the supervisor says a pid");
        let pid = line.trim().parse().expect("the supervisor says a pid");
        Supervised { name: name.to_owned(), pid, log, shell: Mutex::new(shell), lifeline }
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.log.with_extension("out"))
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.log.with_extension("err"))
    }

    /// Sends a signal to the process itself, not to its supervisor. A process
    /// that is gone already is left alone.
    pub fn signal(&self, signal: Signal) {
        if self.exit_code().is_some() {
            return;
        }
        let script = format!("kill -{} {}", signal.name(), self.pid);
        // It may end in between: then kill fails, which is no fault of the test.
        let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
    }

    /// Its exit code (128 + signal number if a signal ended it), `None` while it
    /// runs.
    pub fn exit_code(&self) -> Option<i32> {
        let mut shell = self.shell.lock().expect("no test panics while holding it");
        let status = shell.try_wait().expect("the supervisor is our child")?;
        Some(status.code().unwrap_or(-1))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(&self, timeout: Duration) -> i32 {
        let what = format!("{} (pid {}) ends\n{}", self.name, self.pid, self.log_tail());
        poll::eventually(&what, timeout, || self.exit_code())
    }

    /// Waits until `find` gives something for the process' log (stdout, then
    /// stderr); fails at once, with the log, when the process ends before.
    pub fn wait_log<T>(&self, timeout: Duration, mut find: impl FnMut(&str) -> Option<T>) -> Result<T, String> {
        let mut ended = None;
        let found = poll::within(timeout, || {
            let before = self.exit_code();
            let text = self.stdout() + &self.stderr();
            match (find(&text), before) {
                (Some(found), _) => Ok(Some(found)),
                (None, Some(code)) => {
                    ended = Some(code);
                    Ok(None)
                }
                (None, None) => Err(()),
            }
        });
        if let Ok(Some(found)) = found {
            return Ok(found);
        }
        let how = ended.map_or("is not ready in time".into(), |c| format!("ended with code {c}"));
        Err(format!("{} {how}; its log ends:\n{}", self.name, self.log_tail()))
    }

    /// The end of both logs, for messages.
    pub fn log_tail(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(25)..].join("\n")
        };
        format!("{}\n{}", tail(self.stdout()), tail(self.stderr()))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // A closed lifeline kills it; the supervisor then removes what it was told to.
        drop(self.lifeline.take());
        let _ = poll::within(DEATH, || self.exit_code().ok_or(()));
    }
}

fn read_lossy(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = fs::File::open(path) {
        let _ = file.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The directory of this test run, for logs and data: `target/tmp/run-PID`.
/// Those of runs that have ended are deleted.
pub fn run_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
        for entry in fs::read_dir(base).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("run-").and_then(|pid| pid.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let dir = base.join(format!("run-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("target/tmp can be written");
        dir
    })
}

/// A new directory below [`run_dir`].
pub fn new_dir(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = run_dir().join(format!("{name}-{number}"));
    fs::create_dir_all(&dir).expect("target/tmp can be written");
    dir
}

/// A TCP port that was free a moment ago, below the range from which the system
/// takes ports for outgoing connections: a server that is stopped and started
/// finds it free again. Only another listener may take it: first starts that need
/// a port are tried again with another.
pub fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let spread = std::process::id() as usize * 131;
    for _ in 0..PORTS.len() {
        let step = spread + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + u16::try_from(step % PORTS.len()).expect("ports are 16 bits");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}
