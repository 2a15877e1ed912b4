//! Process groups and sessions: what job control acts on (credentials(7), setpgid(2), setsid(2)).
//!
//! A group lives while it has members, a session while it has groups. Membership changes under the tree's lock; the
//! list of members has a lock of its own that masks interrupts, because a terminal signals its foreground group from wherever
//! the key arrives.
#![forbid(unsafe_code)]

use super::attachment::Attachment;
use super::id::Pid;
use super::process::Process;
use super::roster::Roster;
use super::table;
use super::tree::{Tree, TreeCell};
use crate::Result;
use crate::sync::{IrqSpinLock, SpinLock};
use alloc::sync::Arc;
use core::any::Any;

/// The terminal that a session belongs to; terminals implement it.
pub trait ControllingTerminal: Any + Send + Sync {
    /// The device number, encoded as in `stat(2)` and in field 7 of `/proc/PID/stat`.
    fn device(&self) -> u32;
    /// The foreground process group, if there is one.
    fn foreground(&self) -> Option<Pid>;
    /// The session's leader has ended: the terminal signals its foreground group (SIGHUP), forgets the session and has no
    /// foreground group any more. The tree is locked.
    fn session_ended(&self, session: &Session);
}

/// A set of process groups that share a controlling terminal.
///
/// # Invariants
/// While the tree is not locked, the session has a terminal exactly if the terminal has the session.
pub struct Session {
    id: Pid,
    groups: TreeCell<usize>,
    terminal: SpinLock<Option<(Attachment, Arc<dyn ControllingTerminal>)>>,
    /// The foreground group of the terminal that hung up: it is told when the leader ends.
    hung_up: TreeCell<Option<Arc<ProcessGroup>>>,
}

impl Session {
    fn new(id: Pid) -> Session {
        Session { id, groups: TreeCell::new(0), terminal: SpinLock::new(None), hung_up: TreeCell::new(None) }
    }

    /// Its number: the process number of the leader that made it.
    #[must_use]
    pub fn id(&self) -> Pid {
        self.id
    }

    /// Has it a controlling terminal?
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        self.terminal.lock().is_some()
    }

    /// The controlling terminal, if it was acquired by `attachment`.
    pub(super) fn terminal_by(&self, attachment: Attachment) -> Option<Arc<dyn ControllingTerminal>> {
        self.terminal.lock().as_ref().filter(|(own, _)| *own == attachment).map(|(_, terminal)| terminal.clone())
    }

    /// Takes a controlling terminal, where it has none.
    pub fn attach(&self, tree: &mut Tree, attachment: Attachment, terminal: Arc<dyn ControllingTerminal>) {
        *self.terminal.lock() = Some((attachment, terminal));
        drop(self.take_hung_up(tree));
    }

    /// Loses the controlling terminal, and returns it.
    pub fn detach(&self, _tree: &mut Tree) -> Option<Arc<dyn ControllingTerminal>> {
        self.terminal.lock().take().map(|(_, terminal)| terminal)
    }

    /// Remembers whom the leader's end is to be told to, now that the terminal is gone.
    pub fn note_hang_up(&self, tree: &mut Tree, foreground: Option<Arc<ProcessGroup>>) {
        let before = core::mem::replace(self.hung_up.get_mut(tree), foreground);
        drop(before);
    }

    pub(super) fn take_hung_up(&self, tree: &mut Tree) -> Option<Arc<ProcessGroup>> {
        self.hung_up.get_mut(tree).take()
    }
}

/// A set of processes that are signalled together.
pub struct ProcessGroup {
    id: Pid,
    session: Arc<Session>,
    members: IrqSpinLock<Roster<Process>>,
}

impl ProcessGroup {
    /// Its number: the process number of the process it was made for.
    #[must_use]
    pub fn id(&self) -> Pid {
        self.id
    }

    /// The session it belongs to.
    #[must_use]
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Does `action` for each member, with interrupts masked and the list locked, in any context: it may signal, and take no lock
    /// that an interrupt handler may not; it may not join or leave a group, nor drop the last reference to a process.
    pub fn for_each(&self, mut action: impl FnMut(&Arc<Process>)) {
        self.members.lock().iter().for_each(&mut action);
    }

    /// The members, who stay the same as long as the tree is locked. Whoever walks them so may take any lock.
    pub fn members<'t>(&'t self, _tree: &'t Tree) -> impl Iterator<Item = Arc<Process>> + 't {
        (0..).map_while(|place| self.members.lock().get(place).cloned())
    }

    /// An empty group, not in the table yet, with room for its first member: once it can be seen, nothing is left that may fail.
    fn unlisted(id: Pid, session: Arc<Session>) -> Result<Arc<ProcessGroup>> {
        let mut members = Roster::new();
        members.make_room()?;
        Ok(Arc::new(ProcessGroup { id, session, members: IrqSpinLock::new(members) }))
    }

    /// A session and its first, empty group, both with number `id`, not in the table yet.
    pub(super) fn unlisted_session(id: Pid) -> Result<Arc<ProcessGroup>> {
        ProcessGroup::unlisted(id, Arc::new(Session::new(id)))
    }

    /// Puts a new session and its group into the table, where their number must be in use already; both or, without memory, neither.
    pub(super) fn list_session(self: &Arc<ProcessGroup>) -> Result<()> {
        table::insert_session(&self.session)?;
        table::insert_group(self).inspect_err(|_| table::remove_session(self.session.id))
    }

    /// A new, empty group with number `id` in `session`, in the table.
    pub(super) fn new_group(id: Pid, session: &Arc<Session>) -> Result<Arc<ProcessGroup>> {
        let group = ProcessGroup::unlisted(id, session.clone())?;
        table::insert_group(&group)?;
        Ok(group)
    }

    /// Makes room for a process: while the tree stays locked, the next to [`join`](ProcessGroup::join) cannot fail.
    pub(super) fn make_room(&self, _tree: &mut Tree) -> Result<()> {
        self.members.lock().make_room()
    }

    /// Adds a process that is in no group.
    pub(super) fn join(&self, tree: &mut Tree, process: &Arc<Process>) -> Result<()> {
        let mut members = self.members.lock();
        let begins = members.is_empty();
        members.insert(process.clone())?;
        if begins {
            *self.session.groups.get_mut(tree) += 1;
        }
        Ok(())
    }

    /// Removes a process; the last one to leave ends the group, the last group its session.
    pub(super) fn leave(&self, tree: &mut Tree, process: &Process) {
        let mut members = self.members.lock();
        let left = members.remove(process);
        let ended = left.is_some() && members.is_empty();
        drop(members);
        if ended {
            table::remove_group(self.id);
            let groups = self.session.groups.get_mut(tree);
            *groups = groups.saturating_sub(1);
            if *groups == 0 {
                table::remove_session(self.session.id);
            }
        }
        drop(left);
    }
}
