use holdpoint_store::{
    AskOutcome, DecideOutcome, Decision, Folder, FolderCounts, Image, ImageId, ImageInfo, LogEntry, LogRow,
    LogSeq, Revision, RevisionId, Thread, ThreadId, ThreadQuery, VerdictKind,
};

use super::poll::is_over;
use super::{GateError, GateServer};

/// A decision somebody makes.
#[derive(Debug, Clone)]
pub struct DecideCommand {
    /// Which thread.
    pub thread_id: ThreadId,
    /// The revision they saw; absent: the one that is up now.
    pub revision_id: Option<RevisionId>,
    /// Yes or no.
    pub kind: VerdictKind,
    /// Who decides.
    pub by: String,
    /// What they say.
    pub note: Option<String>,
}

/// A thread with all that belongs to it.
#[derive(Debug, Clone)]
pub struct ThreadReport {
    /// The thread.
    pub thread: Thread,
    /// Its revisions, the oldest first.
    pub revisions: Vec<Revision>,
    /// The images of each revision that has some.
    pub images: Vec<(RevisionId, Vec<ImageInfo>)>,
    /// What happened in its task, the oldest first.
    pub timeline: Vec<LogRow>,
    /// The images of the events among that.
    pub event_images: Vec<(LogSeq, Vec<ImageInfo>)>,
    /// Whether older lines were left out.
    pub timeline_starts: TimelineStart,
}

/// Where a timeline starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimelineStart {
    /// At the task's first line.
    Beginning,
    /// Somewhere later: there is more than is shown.
    Later,
}

impl GateServer {
    /// The threads that wait, escalated ones first.
    pub async fn open_threads(&self) -> Result<Vec<Thread>, GateError> {
        self.threads(&ThreadQuery { folder: Folder::Open, search: String::new(), limit: u32::MAX }).await
    }

    /// Lists threads.
    pub async fn threads(&self, query: &ThreadQuery) -> Result<Vec<Thread>, GateError> {
        self.store().expire_due(self.now()).await?;
        Ok(self.store().list_threads(query).await?)
    }

    /// How many threads each folder holds.
    pub async fn folder_counts(&self) -> Result<FolderCounts, GateError> {
        Ok(self.store().folder_counts().await?)
    }

    /// A thread as it is now.
    pub async fn thread(&self, id: &ThreadId) -> Result<Option<Thread>, GateError> {
        let now = self.now();
        let thread = self.store().thread(id).await?;
        if thread.as_ref().is_some_and(|thread| is_over(thread, now)) {
            self.store().expire_due(now).await?;
            return Ok(self.store().thread(id).await?);
        }
        Ok(thread)
    }

    /// A thread with its revisions and history.
    pub async fn report(&self, id: &ThreadId) -> Result<Option<ThreadReport>, GateError> {
        let Some(thread) = self.thread(id).await? else { return Ok(None) };
        let store = self.store();
        let revisions = store.revisions(id).await?;
        let mut images = Vec::new();
        for revision in &revisions {
            let attached = store.images_of(id, &revision.id).await?;
            if !attached.is_empty() {
                images.push((revision.id.clone(), attached));
            }
        }
        let limit = self.options.limits.timeline_shown;
        let timeline = store.timeline(thread.agent_id, &thread.task_id, limit).await?;
        let mut event_images = Vec::new();
        for row in &timeline {
            if matches!(row.entry, LogEntry::Event { .. }) {
                let images = store.images_of_event(row.seq).await?;
                if !images.is_empty() {
                    event_images.push((row.seq, images));
                }
            }
        }
        let full = u32::try_from(timeline.len()).is_ok_and(|length| length < limit);
        let timeline_starts = if full { TimelineStart::Beginning } else { TimelineStart::Later };
        Ok(Some(ThreadReport { thread, revisions, images, timeline, event_images, timeline_starts }))
    }

    /// Decides; the first decision wins, and whoever comes second is told who was first.
    pub async fn decide(&self, command: DecideCommand) -> Result<DecideOutcome, GateError> {
        let DecideCommand { thread_id, revision_id, kind, by, note } = command;
        let revision_id = match revision_id {
            Some(seen) => seen,
            None => match self.thread(&thread_id).await? {
                Some(thread) => thread.revision.id,
                None => return Ok(DecideOutcome::NotFound),
            },
        };
        let note = note.filter(|note| !note.trim().is_empty());
        Ok(self.store().decide(Decision { thread_id, revision_id, kind, by, note, now: self.now() }).await?)
    }

    /// Leaves the agent a message on an open thread, without deciding.
    pub async fn ask_for_changes(
        &self,
        thread: &ThreadId,
        revision_seen: &RevisionId,
        by: &str,
        message: &str,
    ) -> Result<AskOutcome, GateError> {
        Ok(self.store().ask_for_changes(thread, revision_seen, by, message, self.now()).await?)
    }

    pub(crate) async fn image(&self, id: ImageId) -> Result<Option<Image>, GateError> {
        Ok(self.store().image(id).await?)
    }
}
