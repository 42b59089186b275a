package qemu

import "github.com/digitalocean/go-qemu/qmp"

// An eventQueue stands between the connection, which must never wait, and
// one subscriber, who may never read. Its methods are called with the
// Monitor's lock held.
type eventQueue struct {
	out   chan qmp.Event
	ended bool
}

func newEventQueue() *eventQueue {
	return &eventQueue{out: make(chan qmp.Event, maxEvents)}
}

// put adds an event; when the queue is full, the oldest one is lost.
func (q *eventQueue) put(e qmp.Event) {
	if q.ended {
		return
	}
	for {
		select {
		case q.out <- e:
			return
		default:
		}
		select {
		case <-q.out:
		default: // the subscriber was quicker
		}
	}
}

// end closes the channel; what is in it can still be read.
func (q *eventQueue) end() {
	if !q.ended {
		q.ended = true
		close(q.out)
	}
}
