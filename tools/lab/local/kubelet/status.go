package kubelet

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	initialBackoff = 10 * time.Second
	maxBackoff     = 5 * time.Minute
)

// backoff is how long a container waits to be restarted: not at all after the first crash, then 10 s, doubled each
// time up to 5 min, and from the beginning after it has run for twice the maximum (the kubelet's CrashLoopBackOff).
type backoff struct {
	wait  time.Duration
	since time.Time // when the container was last restarted
}

func (b *backoff) next(finished time.Time) time.Duration {
	if b.wait == 0 || finished.Sub(b.since) > 2*maxBackoff {
		b.wait, b.since = initialBackoff, finished

		return 0
	}
	wait := b.wait
	b.wait, b.since = min(2*wait, maxBackoff), finished.Add(wait)

	return wait
}

func pendingStatus(pod *corev1.Pod) corev1.PodStatus {
	container := &pod.Spec.Containers[0]
	status := corev1.PodStatus{
		Phase:     corev1.PodPending,
		StartTime: new(metav1.Now()),
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: container.Name, Image: container.Image, Started: new(false),
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}},
	}
	setCondition(&status, corev1.PodScheduled, true, "", "")
	setCondition(&status, corev1.PodInitialized, true, "", "")
	setContainerReady(&status, false, "")

	return status
}

// setRunning is for a container that has just started.
func setRunning(pod *corev1.Pod, pid int, restarts int32) {
	container := &pod.Status.ContainerStatuses[0]
	pod.Status.Phase = corev1.PodRunning
	retire(container)
	container.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	container.ContainerID = fmt.Sprintf("process://%d", pid)
	container.RestartCount = restarts
	container.Started = new(false)
	if pod.Spec.Containers[0].StartupProbe == nil {
		setStarted(&pod.Status, &pod.Spec.Containers[0])
	}
}

// setStarted is for a container whose startup probe, if any, has succeeded. Without a readiness probe it is ready.
func setStarted(status *corev1.PodStatus, container *corev1.Container) {
	status.ContainerStatuses[0].Started = new(true)
	setContainerReady(status, container.ReadinessProbe == nil, "")
}

// setReady is for what the readiness probe found.
func setReady(status *corev1.PodStatus, err error) {
	why := ""
	if err != nil {
		why = ": readiness probe: " + err.Error()
	}
	setContainerReady(status, err == nil, why)
}

// setTerminated is for a container whose process is gone.
func setTerminated(status *corev1.PodStatus, exitCode int, lastWords string) {
	container := &status.ContainerStatuses[0]
	state := corev1.ContainerStateTerminated{
		ExitCode: int32(exitCode), Reason: "Error", Message: lastWords, FinishedAt: metav1.Now(), ContainerID: container.ContainerID,
	}
	if exitCode == 0 {
		state.Reason = "Completed"
	}
	if running := container.State.Running; running != nil {
		state.StartedAt = running.StartedAt
	}
	setDown(status, state)
}

// setNotStarted is for a container whose process could not be started.
func setNotStarted(status *corev1.PodStatus, err error) {
	setDown(status, corev1.ContainerStateTerminated{ExitCode: 128, Reason: "StartError", Message: err.Error(), FinishedAt: metav1.Now()})
}

func setDown(status *corev1.PodStatus, state corev1.ContainerStateTerminated) {
	container := &status.ContainerStatuses[0]
	container.Started = new(false)
	container.State = corev1.ContainerState{Terminated: &state}
	setContainerReady(status, false, "")
}

// setBackoff is for a container that waits to be restarted.
func setBackoff(status *corev1.PodStatus, wait time.Duration) {
	container := &status.ContainerStatuses[0]
	retire(container)
	container.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
		Reason: "CrashLoopBackOff", Message: fmt.Sprintf("back-off %s restarting failed container %s", wait, container.Name),
	}}
}

// retire makes the end of a container its last one, before it has a new state.
func retire(container *corev1.ContainerStatus) {
	if container.State.Terminated != nil {
		container.LastTerminationState = container.State
	}
}

// setContainerReady says of the container, and so of the whole pod, whether it is ready.
func setContainerReady(status *corev1.PodStatus, ready bool, why string) {
	container := &status.ContainerStatuses[0]
	container.Ready = ready
	reason, message := "", ""
	if !ready {
		reason, message = "ContainersNotReady", fmt.Sprintf("containers with unready status: [%s]%s", container.Name, why)
	}
	setCondition(status, corev1.ContainersReady, ready, reason, message)
	setCondition(status, corev1.PodReady, ready, reason, message)
}

// setCondition keeps the time of the last transition when there is none.
func setCondition(status *corev1.PodStatus, of corev1.PodConditionType, is bool, reason, message string) {
	condition := corev1.PodCondition{Type: of, Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: metav1.Now()}
	if is {
		condition.Status = corev1.ConditionTrue
	}
	for i, old := range status.Conditions {
		if old.Type != of {
			continue
		}
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		status.Conditions[i] = condition

		return
	}
	status.Conditions = append(status.Conditions, condition)
}
