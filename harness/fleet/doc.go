// Package fleet takes jobs to other machines and brings their outcomes back.
//
// A [Hub] has the queue, a [Worker] takes jobs from it, and a [Client] is what
// a command has them done with: it implements trial.Fleet. Workers and clients
// connect to one port of the hub's by TLS, whose certificate they know by its
// digest. Inside lies NATS, where each proves by an nkey what it is; a worker
// may ask for leases and give outcomes, and nothing else. Large things go over
// the same port as files, by their SHA-256, in parts that can be gone on with.
//
// # Who knows what
//
// The truth is the folder of the run, which the command has. It sends the hub
// what is not recorded yet, and confirms what is. The queue, a JetStream work
// queue, only leases: it can be lost at any moment, and the commands that wait
// send again what they lack. A job leaves the queue when its outcome is there;
// a lease that is not extended within [LeaseTime] goes to another worker. So a
// job can be done twice. The first outcome counts, and of a second one it is
// said when its verdict differs. A job that [MostDeaths] workers did not come
// back from has the outcome that says so.
//
// # Who believes whom
//
// What comes from a worker is a stranger's: sizes, names, digests and JSON are
// checked, a lease is a token that only its holder has, and how much a worker
// may have under way is limited. Of what it gets for a trial a worker runs nothing
// but in a machine, and it takes only trials that their scenario, read anew, gives.
//
// # Builds
//
// Kernels of git are built by jobs, too: the Client is a gitbuild.Away. Their class
// is a compiler, so that one command has all built with the same. The sources are
// artefacts, each a git pack of what those before it lack, of which a worker fetches
// what it has not; the job says which commits are near, workers which they have
// object trees of, and the hub brings the two together. A build runs what the
// sources say, as gitbuild has it run: who has a client's key can have that done by
// workers that build.
package fleet
