// Package child starts processes that don't outlive this one. Everything that
// blockrig executes is started by it.
//
//	cmd := exec.Command("make", "-j4") // not CommandContext
//	cmd.Dir, cmd.Stdout = dir, log
//	err := child.Run(ctx, cmd, child.Options{Grace: 20 * time.Second})
//
// A child
//   - is the leader of a process group, so that a Ctrl-C at the terminal
//     reaches it through the context only;
//   - is asked to end when ctx ends, with its whole group (SIGTERM), and killed
//     with it after Options.Grace; the error is then ctx's cause;
//   - leaves nothing running: when it has ended, what is left of its group is
//     killed, before its output is closed;
//   - is killed by the kernel when this process dies, kill -9 included
//     (PR_SET_PDEATHSIG, prctl(2)).
//
// What leaves the group (setsid, a daemon) escapes. Options.Contain holds that
// too, in a PID namespace of its own: it dies with the child, and with this
// process.
//
// A View is what root lets a child see of the file system, so that one that runs
// as another user reads and writes nothing else:
//
//	view := child.View{{Path: src}, {Path: out, Writable: true}}
//	err := child.Run(ctx, cmd, child.Options{Contain: true, OnThread: view.Enter})
//
// Output gives a child's output up to a limit. A Tail keeps the end of what
// is written to it. Don't use exec.Cmd's StdoutPipe: its end is closed as soon
// as the child has ended, before all is read; os.Pipe serves.
package child
