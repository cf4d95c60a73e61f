package load

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerFD is an alarm on a timerfd. The runtime's poller is woken by the kernel's
// high-resolution timer, not by its own timeout of whole milliseconds, and no
// thread blocks meanwhile.
type timerFD struct {
	fd   int
	file *os.File
	buf  [8]byte
}

// newAlarm is a timerfd, or the runtime's timer where there is none to be had: RPCs
// are then sent up to a millisecond late, and their latency says so.
func newAlarm() alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return coarseAlarm{}
	}

	return &timerFD{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}
}

func (t *timerFD) sleep(_ context.Context, d time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	if err := unix.TimerfdSettime(t.fd, 0, &spec, nil); err != nil {
		return // only for a spec that is out of range: the caller looks at the time and asks again
	}
	// An error is the interruption.
	_, _ = t.file.Read(t.buf[:])
}

func (t *timerFD) interrupt() { _ = t.file.SetReadDeadline(time.Unix(1, 0)) }
func (t *timerFD) close()     { _ = t.file.Close() }
