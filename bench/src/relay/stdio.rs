//! stdio to stdio: lines in, lines out. With a Gate each call is asked for on its own task, so none waits for another.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::gate;

pub(super) const QUEUE_MAX: usize = 1024;
const BATCH_MAX: usize = 256;

/// Starts a tool, which ends with its handle.
pub(super) fn start(command: &[String]) -> Result<(Child, ChildStdin, ChildStdout)> {
    let mut child = Command::new(command.first().context("-- COMMAND")?)
        .args(command.iter().skip(1))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the tool")?;
    let tool_in = child.stdin.take().context("no standard input")?;
    let tool_out = child.stdout.take().context("no standard output")?;
    Ok((child, tool_in, tool_out))
}

/// `relay-stdio [--gate URL] -- COMMAND ARGUMENTS…`
pub(crate) async fn pump(arguments: &[String]) -> Result<()> {
    let at = arguments.iter().position(|argument| argument == "--").context("-- COMMAND")?;
    let (ours, command) = arguments.split_at(at);
    let gate = gate(ours)?;
    let (_child, tool_in, mut tool_out) = start(command.get(1..).unwrap_or_default())?;

    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    let writer = tokio::spawn(write(tool_in, receiver));
    // Pipes that wake the runtime themselves: `tokio::io::stdin` would hand every read to another thread.
    let mut client_out =
        pipe::OpenOptions::new().open_sender("/dev/stdout").context("standard output is no pipe")?;
    let client_in =
        pipe::OpenOptions::new().open_receiver("/dev/stdin").context("standard input is no pipe")?;
    let back = tokio::spawn(async move { tokio::io::copy(&mut tool_out, &mut client_out).await });

    let mut reader = BufReader::new(client_in);
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line).await.context("cannot read")? == 0 {
            break;
        }
        let sender = sender.clone();
        match gate.clone() {
            None => sender.send(line).await.context("the tool is gone")?,
            Some(gate) => {
                tokio::spawn(async move {
                    // A refused or failed question ends here: nothing is forwarded.
                    if gate.permits(&line).await.unwrap_or(false) {
                        let _gone = sender.send(line).await;
                    }
                });
            }
        }
    }
    drop(sender);
    writer.await.context("the writer failed")??;
    back.await.context("the reader failed")?.context("cannot write")?;
    Ok(())
}

/// Writes what is there, then flushes once.
pub(super) async fn write(tool: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Vec<u8>>) -> Result<()> {
    let mut tool = BufWriter::new(tool);
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while lines.recv_many(&mut batch, BATCH_MAX).await > 0 {
        for line in batch.drain(..) {
            tool.write_all(&line).await.context("the tool reads no more")?;
        }
        tool.flush().await.context("the tool reads no more")?;
    }
    Ok(())
}
