package experiment

import (
	"os"
	"strconv"
	"strings"
)

// meter measures how busy the machine is.
type meter struct{ before []float64 }

func startMeter() meter { return meter{cpuTimes()} }

// read returns the parts of the CPU time since the start that were used and that
// a hypervisor took; nil where the system does not say.
func (m meter) read() (busy, steal *float64) {
	after := cpuTimes()
	if len(after) < 8 || len(m.before) < 8 {
		return nil, nil
	}
	var total float64
	for i := range 8 { // those after are parts of these
		total += after[i] - m.before[i]
	}
	if total <= 0 {
		return nil, nil
	}
	const idle, ioWait, stolen = 3, 4, 7
	steals := after[stolen] - m.before[stolen]
	idles := after[idle] - m.before[idle] + after[ioWait] - m.before[ioWait]

	return new((total - idles - steals) / total), new(steals / total)
}

// cpuTimes reads the first line of Linux's /proc/stat (proc(5)), in ticks; nil
// elsewhere.
func cpuTimes() []float64 {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 || fields[0] != "cpu" {
		return nil
	}
	times := make([]float64, 0, len(fields)-1)
	for _, field := range fields[1:] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil
		}
		times = append(times, ticks)
	}

	return times
}
