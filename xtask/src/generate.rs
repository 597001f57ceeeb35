//! `cargo xtask generate`: files that a command prints and the repository keeps.

use anyhow::{Context as _, Result, bail};

use crate::command::{output, root};
use crate::registry::GENERATED;

/// Writes them all.
pub(crate) fn write() -> Result<()> {
    for generated in GENERATED {
        let path = root().join(generated.path);
        let text = output(&mut generated.command())?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", generated.path);
    }
    Ok(())
}

/// Fails when one differs from what its command prints.
pub(crate) fn check() -> Result<()> {
    let mut stale = Vec::new();
    for generated in GENERATED {
        let kept = std::fs::read_to_string(root().join(generated.path)).unwrap_or_default();
        if kept != output(&mut generated.command())? {
            stale.push(generated.path);
        }
    }
    if !stale.is_empty() {
        bail!("stale: {}\nhint: run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    println!("{} generated files are up to date", GENERATED.len());
    Ok(())
}
