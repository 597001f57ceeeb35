//! The tool server of the kill matrix, over stdio: `e2e_till LOG`.

fn main() -> anyhow::Result<()> {
    let log = std::env::args().nth(1).map(std::path::PathBuf::from);
    holdpoint_e2e::till_over_stdio(&log.ok_or_else(|| anyhow::anyhow!("e2e_till LOG"))?)
}
