//! A machine of many cores in one thread: queues, placement and stealing of the kernel, with messages that take random times.
//!
//! What happens is a function of its seed. What holds at every step is asserted: a task is in exactly one place, its affinity is obeyed,
//! no message is lost; and no core sleeps long beside one that has work to spare.

use super::super::steal::{Loot, Thief, share};
use super::super::{CoreSet, Cores, Hints, placement};
use super::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const MOST_CORES: usize = 256;
/// How long a core may sleep while another has a task to spare.
const PATIENCE: u64 = 10 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Queue(usize),
    Message,
    Asleep,
}

#[derive(Debug)]
pub(super) struct Program {
    entity: Entity<Box<Program>>,
    request: Request,
    index: usize,
    last: usize,
    /// The cores it may run on, which the test can change.
    allowed: Rc<Cell<CoreSet>>,
    position: Rc<Cell<Position>>,
    /// Total service at which the present burst ends, and the lengths of all bursts and sleeps; a sleep of 0 is none.
    burst_end: u64,
    burst: u64,
    sleep: u64,
}

impl Schedulable for Box<Program> {
    fn entity(&self) -> &Entity<Self> {
        &self.entity
    }
    fn entity_mut(&mut self) -> &mut Entity<Self> {
        &mut self.entity
    }
    fn request(&self) -> Request {
        self.request
    }
    fn may_run_on(&self, core: usize) -> bool {
        self.allowed.get().contains(core)
    }
    fn cores(&self) -> FoldedCores {
        self.allowed.get().into()
    }
    fn note_position(&self, position: Position) {
        self.position.set(position);
    }
}

impl Program {
    fn is_unbound(&self) -> bool {
        self.allowed.get() == CoreSet::ALL
    }
}

#[derive(Debug)]
enum Message {
    Come(Box<Program>, Arrival),
    Steal { thief: usize },
    Answer { victim: usize, loot: Loot<Box<Program>> },
}

#[derive(Debug)]
enum Event {
    Deliver(usize, Message),
    /// The slice or the burst of the task that a core runs ends, if that is still the one it was.
    Core(usize, u64),
    Wake(usize),
}

pub(super) struct SimulatedCore {
    pub(super) queue: RunQueue<Box<Program>>,
    thief: Thief,
    asking: bool,
    turn: u64,
    since: u64,
    idle_since: Option<u64>,
    rich_since: Option<u64>,
    /// How many of its tasks may run anywhere.
    unbound: usize,
}

struct Online<'a>(&'a Hints<MOST_CORES>, usize);

impl Cores for Online<'_> {
    fn count(&self) -> usize {
        self.1
    }
    fn runnable(&self, core: usize) -> usize {
        self.0.runnable(core)
    }
    fn claim_idle(&self, preferred: usize, allowed: &dyn Fn(usize) -> bool) -> Option<usize> {
        self.0.claim_idle(self.1, preferred, allowed)
    }
    fn release_idle(&self, core: usize) {
        self.0.enter_idle(core);
    }
}

/// The machine, and what has happened in it.
pub(super) struct Machine {
    seed: u64,
    random: u64,
    now: u64,
    pub(super) cores: Vec<SimulatedCore>,
    hints: Hints<MOST_CORES>,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    pending: std::collections::HashMap<u64, Event>,
    sequence: u64,
    asleep: Vec<Option<Box<Program>>>,
    pub(super) places: Vec<Place>,
    pub(super) sent: u64,
    delivered: u64,
    pub(super) decisions: u64,
    pub(super) steals: u64,
    /// How many tasks were sent away from queues that were too long.
    pub(super) relieved: u64,
    pub(super) service: Vec<u64>,
    allowed: Vec<Rc<Cell<CoreSet>>>,
    positions: Vec<Rc<Cell<Position>>>,
}

impl Machine {
    pub(super) fn new(seed: u64, cores: usize) -> Self {
        let core = |id| SimulatedCore {
            queue: RunQueue::new(id as u32),
            thief: Thief::new(),
            asking: false,
            turn: 0,
            since: 0,
            idle_since: Some(0),
            rich_since: None,
            unbound: 0,
        };
        let hints = Hints::new();
        (0..cores).for_each(|core| hints.enter_idle(core));
        Self {
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: 0,
            cores: (0..cores).map(core).collect(),
            hints,
            events: BinaryHeap::new(),
            pending: Default::default(),
            sequence: 0,
            asleep: Vec::new(),
            places: Vec::new(),
            sent: 0,
            delivered: 0,
            decisions: 0,
            steals: 0,
            relieved: 0,
            service: Vec::new(),
            allowed: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// Xorshift (Marsaglia, 2003).
    pub(super) fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.pending.insert(self.sequence, event);
        self.events.push(Reverse((time, self.sequence)));
    }

    fn send(&mut self, to: usize, message: Message) {
        self.sent += 1;
        let delay = 500 + self.random(20_000);
        self.at(self.now + delay, Event::Deliver(to, message));
    }

    /// A task is born on core `here`.
    pub(super) fn spawn(&mut self, here: usize, request: Request, burst: u64, sleep: u64, bound: Option<usize>) {
        let index = self.places.len();
        self.places.push(Place::Asleep);
        self.asleep.push(None);
        self.service.push(0);
        let entity = Entity::new(index as u64 + 1);
        let burst_end = if burst == 0 { u64::MAX } else { burst };
        let allowed = Rc::new(Cell::new(bound.map_or(CoreSet::ALL, CoreSet::only)));
        self.allowed.push(allowed.clone());
        let position = Rc::new(Cell::new(Position::default()));
        self.positions.push(position.clone());
        let task = Box::new(Program { entity, request, index, last: here, allowed, position, burst_end, burst, sleep });
        let target = placement::for_born(&Online(&self.hints, self.cores.len()), here, |core| task.may_run_on(core));
        self.dispatch(here, target, task, Arrival::Born);
    }

    fn dispatch(&mut self, here: usize, target: usize, task: Box<Program>, arrival: Arrival) {
        if here == target {
            self.enqueue(here, task, arrival);
        } else {
            self.places[task.index] = Place::Message;
            self.hints.expect(target);
            self.send(target, Message::Come(task, arrival));
        }
    }

    fn enqueue(&mut self, core: usize, mut task: Box<Program>, arrival: Arrival) {
        assert!(task.may_run_on(core), "seed {}: affinity", self.seed);
        assert_ne!(self.places[task.index], Place::Queue(core), "seed {}: queued twice", self.seed);
        self.places[task.index] = Place::Queue(core);
        task.last = core;
        let now = self.now;
        self.settle(core);
        let this = &mut self.cores[core];
        this.unbound += usize::from(task.is_unbound());
        let decision = this.queue.enqueue(task, arrival, now);
        if this.queue.len() == 1 {
            this.thief.forget();
        }
        self.hints.leave_idle(core);
        if decision == Preemption::Reschedule { self.preempt(core) } else { self.arm(core) }
    }

    /// The running task has to wait.
    fn preempt(&mut self, core: usize) {
        self.choose(core);
        self.relieve(core);
        self.arm(core);
    }

    /// Books the service of the running task up to now.
    fn settle(&mut self, core: usize) {
        let now = self.now;
        let this = &mut self.cores[core];
        let used = now - this.since;
        this.since = now;
        if let Some(task) = this.queue.current() {
            self.service[task.index] += used;
        }
    }

    fn choose(&mut self, core: usize) {
        self.decisions += 1;
        let now = self.now;
        self.settle(core);
        let this = &mut self.cores[core];
        if this.queue.pick(now).is_none() {
            self.hints.publish(core, 0);
            let online = Online(&self.hints, self.cores.len());
            let victim = self.cores[core].thief.victim(&online, core);
            let this = &mut self.cores[core];
            if let Some(victim) = victim.filter(|_| !this.asking) {
                this.asking = true;
                self.send(victim, Message::Steal { thief: core });
            }
            self.hints.enter_idle(core);
        }
    }

    /// Publishes the length of the queue and sets the timer for the end of the slice or of the burst.
    fn arm(&mut self, core: usize) {
        let now = self.now;
        let this = &mut self.cores[core];
        this.turn += 1;
        let (turn, runnable) = (this.turn, this.queue.len());
        self.hints.publish(core, runnable);
        let movable = this.unbound - usize::from(this.queue.current().is_some_and(|task| task.is_unbound()));
        this.idle_since = if runnable == 0 { this.idle_since.or(Some(now)) } else { None };
        this.rich_since = if movable > 0 { this.rich_since.or(Some(now)) } else { None };
        let burst = this.queue.current().map(|task| {
            let done = task.entity().runtime();
            let until = task.burst_end.saturating_sub(done);
            now.saturating_add(until.max(1))
        });
        let next = burst.into_iter().chain(this.queue.slice_end().map(|end| end.max(now + 1))).min();
        if let Some(next) = next.filter(|next| *next < u64::MAX / 2) {
            self.at(next, Event::Core(core, turn));
        }
    }

    fn turn_over(&mut self, core: usize) {
        let now = self.now;
        self.settle(core);
        let decision = self.cores[core].queue.update(now);
        let finished = self.cores[core].queue.current().is_some_and(|task| task.entity().runtime() >= task.burst_end);
        if finished {
            let this = &mut self.cores[core];
            let mut task = this.queue.remove_current(Departure::Sleep, now).unwrap();
            this.unbound -= usize::from(task.is_unbound());
            task.burst_end = task.entity().runtime() + task.burst;
            self.places[task.index] = Place::Asleep;
            let (index, sleep) = (task.index, task.sleep);
            assert!(self.asleep[index].replace(task).is_none());
            let wobble = self.random(1000);
            self.at(now + sleep + wobble, Event::Wake(index));
            self.choose(core);
            self.arm(core);
            return;
        }
        if decision == Preemption::Reschedule {
            self.preempt(core);
        } else {
            self.relieve(core);
            self.arm(core);
        }
    }

    fn relieve(&mut self, core: usize) {
        let (now, online) = (self.now, Online(&self.hints, self.cores.len()));
        let queue = &mut self.cores[core].queue;
        if !queue.relief_is_due(now) {
            return;
        }
        let mut sent = Vec::new();
        let send = |task: Box<Program>, target| {
            self.hints.expect(target);
            sent.push((task, target));
        };
        queue.relieve(&online, core, now, send);
        for (task, target) in sent {
            self.relieved += 1;
            self.cores[core].unbound -= usize::from(task.is_unbound());
            self.places[task.index] = Place::Message;
            self.send(target, Message::Come(task, Arrival::Moved));
        }
    }

    /// Lets a task run anywhere from now on, wherever it is.
    pub(super) fn release(&mut self, index: usize) {
        self.allowed[index].set(CoreSet::ALL);
        let Place::Queue(core) = self.places[index] else { return };
        self.settle(core);
        let (now, position) = (self.now, self.positions[index].get());
        let queue = &mut self.cores[core].queue;
        let decision = queue.refresh(position, |task| task.index == index, now);
        let mut unbound = usize::from(queue.current().is_some_and(|task| task.is_unbound()));
        queue.fair().waiting().for_each(|task| unbound += usize::from(task.is_unbound()));
        queue.realtime().waiting().for_each(|task| unbound += usize::from(task.is_unbound()));
        self.cores[core].unbound = unbound;
        if decision == Preemption::Reschedule { self.preempt(core) } else { self.arm(core) }
    }

    fn deliver(&mut self, core: usize, message: Message) {
        self.delivered += 1;
        let now = self.now;
        match message {
            Message::Come(task, arrival) => self.enqueue(core, task, arrival),
            Message::Steal { thief } => {
                self.settle(core);
                let mut loot = Loot::new();
                self.steals += share(&mut self.cores[core].queue, &mut loot, thief, now) as u64;
                let mut passed = Loot::new();
                while let Some(task) = loot.take() {
                    self.cores[core].unbound -= usize::from(task.is_unbound());
                    self.places[task.index] = Place::Message;
                    assert!(passed.give(task).is_ok());
                }
                self.arm(core);
                self.send(thief, Message::Answer { victim: core, loot: passed });
            }
            Message::Answer { victim, mut loot } => {
                let mut given = 0;
                while let Some(task) = loot.take() {
                    self.enqueue(core, task, Arrival::Moved);
                    given += 1;
                }
                let this = &mut self.cores[core];
                this.asking = false;
                this.thief.answered(victim, given);
                if this.queue.is_empty() {
                    self.choose(core);
                    self.arm(core);
                }
            }
        }
    }

    pub(super) fn run_until(&mut self, end: u64) {
        self.run(end, 64);
    }

    /// Goes on until `end`, checking the invariants every so many events.
    pub(super) fn run(&mut self, end: u64, interval: u64) {
        let mut check = 0u64;
        while let Some(Reverse((time, _))) = self.events.peek().copied().filter(|Reverse((time, _))| *time <= end) {
            let Some(Reverse((_, key))) = self.events.pop() else { break };
            self.now = time;
            match self.pending.remove(&key).unwrap() {
                Event::Deliver(core, message) => self.deliver(core, message),
                Event::Core(core, turn) if self.cores[core].turn == turn => self.turn_over(core),
                Event::Core(..) => {}
                Event::Wake(index) => {
                    let task = self.asleep[index].take().unwrap();
                    let here = self.random(self.cores.len() as u64) as usize;
                    let online = Online(&self.hints, self.cores.len());
                    let target = placement::for_woken(&online, task.last, here, |core| task.may_run_on(core));
                    self.dispatch(here, target, task, Arrival::Woken);
                }
            }
            check += 1;
            if check.is_multiple_of(interval) {
                self.check();
            }
        }
        self.now = end;
        (0..self.cores.len()).for_each(|core| self.settle(core));
        self.check();
    }

    fn check(&self) {
        let long = |since: Option<u64>| since.is_some_and(|since| self.now - since > PATIENCE);
        let idle = self.cores.iter().position(|core| long(core.idle_since));
        let rich = self.cores.iter().position(|core| long(core.rich_since));
        assert!(
            idle.is_none() || rich.is_none(),
            "seed {}: {idle:?} sleeps beside {rich:?} at {}",
            self.seed,
            self.now
        );
        let queued: usize = self.cores.iter().map(|core| core.queue.len()).sum();
        let count = |wanted: fn(&Place) -> bool| self.places.iter().filter(|place| wanted(place)).count();
        assert_eq!(queued, count(|place| matches!(place, Place::Queue(_))), "seed {}", self.seed);
        assert_eq!(self.asleep.iter().flatten().count(), count(|place| *place == Place::Asleep), "seed {}", self.seed);
        let under_way = self.pending.values().filter(|event| matches!(event, Event::Deliver(..))).count() as u64;
        assert_eq!(self.sent, self.delivered + under_way, "seed {}: a message was lost", self.seed);
    }
}
