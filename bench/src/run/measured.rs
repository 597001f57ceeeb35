//! What was measured, and how figures are made of samples.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::{Sample, Shape};
use crate::process::Memory;

/// Numbers of calls in flight, for calls of ordinary length.
pub(crate) const LEVELS: [u64; 4] = [1, 16, 64, 256];
/// The level at which throughput and CPU time are judged.
pub(crate) const JUDGED: Shape = Shape::ordinary(16);
/// One call at a time, where latency is judged.
pub(crate) const ALONE: Shape = Shape::ordinary(1);
/// The level at which the slowest calls are judged, and after which memory is.
pub(crate) const CROWD: Shape = Shape::ordinary(256);
pub(crate) const LARGE: Shape = Shape { payload_bytes: 64 << 10, in_flight: 16 };
pub(crate) const HUGE: Shape = Shape { payload_bytes: 1 << 20, in_flight: 4 };

/// From where the client speaks to where the tool listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    HttpToHttp,
    HttpToStdio,
    StdioToStdio,
    StdioToHttp,
}

/// One side of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Http,
    Stdio,
}

impl Route {
    pub(crate) const ALL: [Self; 4] =
        [Self::HttpToHttp, Self::HttpToStdio, Self::StdioToStdio, Self::StdioToHttp];

    /// As arguments and `peers.json` write it.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::HttpToHttp => "http-http",
            Self::HttpToStdio => "http-stdio",
            Self::StdioToStdio => "stdio-stdio",
            Self::StdioToHttp => "stdio-http",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::HttpToHttp => "HTTP → HTTP",
            Self::HttpToStdio => "HTTP → stdio",
            Self::StdioToStdio => "stdio → stdio",
            Self::StdioToHttp => "stdio → HTTP",
        }
    }

    pub(crate) const fn front(self) -> Transport {
        match self {
            Self::HttpToHttp | Self::HttpToStdio => Transport::Http,
            Self::StdioToStdio | Self::StdioToHttp => Transport::Stdio,
        }
    }

    pub(crate) const fn upstream(self) -> Transport {
        match self {
            Self::HttpToHttp | Self::StdioToHttp => Transport::Http,
            Self::HttpToStdio | Self::StdioToStdio => Transport::Stdio,
        }
    }
}

impl Serialize for Route {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.key())
    }
}

/// What stands between client and tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Path {
    /// Nothing: the client speaks the tool's transport.
    Direct,
    Relay,
    Ours,
    RelayAsked,
    OursAsked,
    Peer {
        name: String,
        kind: Kind,
    },
}

/// Whether a proxy only forwards, or decides about each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Pass,
    Gate,
}

impl Kind {
    pub(crate) const fn ours(self) -> Path {
        match self {
            Self::Pass => Path::Ours,
            Self::Gate => Path::OursAsked,
        }
    }
}

impl Path {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Direct => "direct",
            Self::Relay => "bare relay",
            Self::Ours => "holdpoint, pass",
            Self::RelayAsked => "bare relay + question",
            Self::OursAsked => "holdpoint, gated",
            Self::Peer { name, .. } => name,
        }
    }

    /// The floor that it is compared with. A peer that decides by itself asks nobody.
    pub(crate) const fn floor(&self) -> Option<Self> {
        match self {
            Self::Direct | Self::Relay | Self::RelayAsked => None,
            Self::Ours | Self::Peer { .. } => Some(Self::Relay),
            Self::OursAsked => Some(Self::RelayAsked),
        }
    }
}

/// Samples of one path.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    /// One per round; `None` where the sample failed, so that neighbours in time stay neighbours.
    pub(crate) rounds: BTreeMap<Shape, Vec<Option<Sample>>>,
    /// Why samples failed.
    pub(crate) failures: Vec<String>,
}

impl Samples {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Sample> {
        self.rounds.values().flatten().flatten()
    }

    pub(crate) fn figure(&self, shape: Shape, figure: fn(&Sample) -> f64) -> f64 {
        median(self.rounds.get(&shape).into_iter().flatten().flatten().map(figure).collect())
    }

    /// Before the first call that the process ever saw.
    pub(crate) fn idle(&self) -> Option<Memory> {
        self.rounds.get(&ALONE)?.iter().flatten().next().map(|sample| sample.idle)
    }

    /// After the first crowd.
    pub(crate) fn loaded(&self) -> Option<Memory> {
        self.rounds.get(&CROWD)?.iter().flatten().next().map(|sample| sample.loaded)
    }

    /// Answers that lost a part on their way.
    pub(crate) fn stripped(&self) -> u64 {
        self.all().map(|sample| sample.stripped).sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.all().map(|sample| sample.errors + sample.lost).sum()
    }
}

/// Samples of one route.
#[derive(Debug, Default)]
pub(crate) struct Measured(pub(crate) BTreeMap<Path, Samples>);

impl Measured {
    pub(crate) fn of(&mut self, path: &Path) -> &mut Samples {
        self.0.entry(path.clone()).or_default()
    }

    /// Median of the ratios within each round.
    pub(crate) fn ratio(&self, of: &Path, to: &Path, shape: Shape, figure: fn(&Sample) -> f64) -> f64 {
        median(
            self.rounds(of, shape)
                .zip(self.rounds(to, shape))
                .filter_map(|(of, to)| Some(figure(of?) / figure(to?)))
                .collect(),
        )
    }

    /// What a path adds to the latency of a single call, in microseconds.
    pub(crate) fn added_us(&self, path: &Path) -> f64 {
        median(self.added(path).into_iter().flatten().collect())
    }

    /// What `of` adds for each microsecond that `to` adds.
    pub(crate) fn added_ratio(&self, of: &Path, to: &Path) -> f64 {
        median(
            self.added(of)
                .into_iter()
                .zip(self.added(to))
                .filter_map(|(of, to)| Some(of? / to?.max(0.1)))
                .collect(),
        )
    }

    fn added(&self, path: &Path) -> Vec<Option<f64>> {
        self.rounds(path, ALONE)
            .zip(self.rounds(&Path::Direct, ALONE))
            .map(|(path, direct)| Some(path?.p50_us - direct?.p50_us))
            .collect()
    }

    fn rounds(&self, path: &Path, shape: Shape) -> impl Iterator<Item = Option<&Sample>> {
        self.0
            .get(path)
            .and_then(|samples| samples.rounds.get(&shape))
            .into_iter()
            .flatten()
            .map(Option::as_ref)
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len() % 2, values.get(middle), values.get(middle.wrapping_sub(1))) {
        (1, Some(value), _) => *value,
        (0, Some(upper), Some(lower)) => f64::midpoint(*lower, *upper),
        _ => f64::NAN,
    }
}

#[test]
fn a_median_is_the_middle() {
    assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
    assert!(median(Vec::new()).is_nan());
}
