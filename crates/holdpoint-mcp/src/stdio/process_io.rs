//! Our own standard input and output, without a thread in between where that is possible.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Our standard input.
pub struct ProcessInput(Box<dyn AsyncRead + Send + Unpin>);

/// Our standard output.
pub struct ProcessOutput(Box<dyn AsyncWrite + Send + Unpin>);

/// Both, for [`super::run`]. Pipes and sockets, which is what clients give us, are read and written directly; tokio's
/// own standard streams send each read and write through another thread. Call once, inside the runtime.
#[must_use]
pub fn process_io() -> (ProcessInput, ProcessOutput) {
    let input = direct::input().unwrap_or_else(|_| Box::new(tokio::io::stdin()));
    let output = direct::output().unwrap_or_else(|_| Box::new(tokio::io::stdout()));
    (ProcessInput(input), ProcessOutput(output))
}

#[cfg(unix)]
mod direct {
    use std::{
        fs::File,
        io,
        os::{
            fd::{AsFd, OwnedFd},
            unix::fs::{FileTypeExt as _, MetadataExt as _},
        },
    };
    use tokio::{
        io::{AsyncRead, AsyncWrite},
        net::{UnixStream, unix::pipe},
    };

    pub(super) fn input() -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        let file = own(io::stdin())?;
        Ok(match kind(&file)? {
            Kind::Pipe => Box::new(pipe::Receiver::from_file(file)?),
            Kind::Socket => Box::new(socket(file)?),
        })
    }

    pub(super) fn output() -> io::Result<Box<dyn AsyncWrite + Send + Unpin>> {
        let file = own(io::stdout())?;
        // What does not block here does not block there either, and a log line that does not fit would be lost.
        let (ours, errors) = (file.metadata()?, own(io::stderr())?.metadata()?);
        if (ours.dev(), ours.ino()) == (errors.dev(), errors.ino()) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(match kind(&file)? {
            Kind::Pipe => Box::new(pipe::Sender::from_file(file)?),
            Kind::Socket => Box::new(socket(file)?),
        })
    }

    enum Kind {
        Pipe,
        Socket,
    }

    fn own(stream: impl AsFd) -> io::Result<File> {
        stream.as_fd().try_clone_to_owned().map(File::from)
    }

    fn kind(file: &File) -> io::Result<Kind> {
        let kind = file.metadata()?.file_type();
        if kind.is_fifo() {
            Ok(Kind::Pipe)
        } else if kind.is_socket() {
            Ok(Kind::Socket)
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn socket(file: File) -> io::Result<UnixStream> {
        let stream = std::os::unix::net::UnixStream::from(OwnedFd::from(file));
        // A socket of another family cannot say a Unix address.
        stream.local_addr()?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}

#[cfg(not(unix))]
mod direct {
    use std::io;
    use tokio::io::{AsyncRead, AsyncWrite};

    pub(super) fn input() -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn output() -> io::Result<Box<dyn AsyncWrite + Send + Unpin>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl AsyncRead for ProcessInput {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for ProcessOutput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl std::fmt::Debug for ProcessInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ProcessInput").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ProcessOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ProcessOutput").finish_non_exhaustive()
    }
}
