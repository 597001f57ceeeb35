//! What the person at the keyboard sees: a table that changes in place on a terminal, plain lines elsewhere.

use super::{Ran, agent::Told, script::Scene};
use holdpoint_config::printable;
use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_millis(200);

/// The screen.
pub(crate) struct View {
    live: bool,
    screen: Mutex<Screen>,
}

#[derive(Default)]
struct Screen {
    rows: Vec<Row>,
    /// Lines of the table that are on the terminal now.
    drawn: usize,
}

struct Row {
    title: String,
    state: State,
}

enum State {
    Asking,
    Held { thread: String, url: String, since: Instant },
    Told { status: String },
}

impl View {
    pub(crate) fn start() -> Self {
        Self { live: std::io::stdout().is_terminal(), screen: Mutex::default() }
    }

    pub(crate) fn opening(tools: &str, sign_in: &str) {
        line("");
        line(&format!("Tool server  {tools}"));
        line(&format!("Inbox        {sign_in}"));
        line("             (the link signs you in, once)");
        line("");
    }

    pub(crate) fn calling(&self, number: usize, scene: &Scene) {
        let title = format!("{}. {}: {}", number + 1, scene.tool, scene.title);
        if !self.live {
            line(&format!("agent calls  {title}"));
        }
        self.lock().rows.push(Row { title, state: State::Asking });
        self.draw();
    }

    pub(crate) fn held(&self, number: usize, thread: &str, url: &str) {
        if !self.live {
            line(&format!("held         review {thread} waits for you: {url}"));
        }
        let state = State::Held { thread: thread.into(), url: url.into(), since: Instant::now() };
        if let Some(row) = self.lock().rows.get_mut(number) {
            row.state = state;
        }
        self.draw();
    }

    pub(crate) fn told(&self, number: usize, told: &Told) {
        if !self.live {
            line(&format!("agent hears  {}: {}", told.status, printable(&told.text)));
        }
        if let Some(row) = self.lock().rows.get_mut(number) {
            row.state = State::Told { status: told.status.clone() };
        }
        self.draw();
    }

    /// Resolves when the table is due to be drawn again.
    pub(crate) async fn tick(&self) {
        tokio::time::sleep(TICK).await;
        self.draw();
    }

    /// Compares what the agent was told with what was on the disk. True if each call that was said to have run did run,
    /// and no other.
    pub(crate) fn ending(&self, scenes: &[Scene], told: &[(Told, Ran)]) -> bool {
        self.lock().drawn = 0;
        line("");
        line("What the agent was told, and what the disk says:");
        let mut all_as_promised = true;
        for (scene, (told, ran)) in scenes.iter().zip(told) {
            all_as_promised &= (told.status == "ran") == (*ran == Ran::Yes);
            let file = scene.evidence.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let disk = match ran {
                Ran::Yes => "it ran",
                Ran::No => "it did not run",
            };
            line(&format!("  {:<12} {file:<16} told: {:<10} disk: {disk}", scene.tool, told.status));
        }
        all_as_promised
    }

    fn draw(&self) {
        if !self.live {
            return;
        }
        let mut screen = self.lock();
        let mut lines = Vec::new();
        for row in &screen.rows {
            match &row.state {
                State::Asking => lines.push(format!("  …  {}", row.title)),
                State::Held { thread, url, since } => {
                    lines.push(format!("\x1b[1m  ⏸  {}\x1b[0m", row.title));
                    let seconds = since.elapsed().as_secs();
                    lines.push(format!("     waits for you, {seconds} s: {thread}"));
                    lines.push(format!("     {url}"));
                }
                State::Told { status } if status == "ran" => lines.push(format!("  ✓  {}  → ran", row.title)),
                State::Told { status } => lines.push(format!("  ✗  {}  → {status}", row.title)),
            }
        }
        let mut text = String::new();
        if screen.drawn > 0 {
            let _infallible = write!(text, "\x1b[{}A", screen.drawn);
        }
        for line in &lines {
            let _infallible = writeln!(text, "\x1b[2K{line}");
        }
        // A table that got shorter leaves no old lines behind.
        text.push_str("\x1b[J");
        screen.drawn = lines.len();
        let mut out = std::io::stdout().lock();
        let _unheard = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn lock(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line that stays.
pub(crate) fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever closed our output does not want to hear about it.
    let _unheard = writeln!(out, "{text}").and_then(|()| out.flush());
}
