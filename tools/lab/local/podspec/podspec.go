// Package podspec turns the container of a Kubernetes pod into a program to start on this machine: the binary that
// stands for its image, its arguments and its environment, by the rules of the kubelet.
//
// What a process without a container cannot honour, and would be missed, is refused by [Check] with an error that
// names the field. Resource requests, security contexts and volumes are passed over: the programs of this project run
// the same without.
package podspec

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Binaries has the binary for each image, by the last element of the image's name without tag and digest:
// "rng" for ghcr.io/evenkeel/rng:v1.
type Binaries map[string]string

// SetDefaults fills in what the API server fills in when a pod is created, as far as it matters here.
func SetDefaults(spec *corev1.PodSpec) {
	spec.RestartPolicy = orDefault(spec.RestartPolicy, corev1.RestartPolicyAlways)
	spec.ServiceAccountName = orDefault(spec.ServiceAccountName, "default")
	if spec.TerminationGracePeriodSeconds == nil {
		spec.TerminationGracePeriodSeconds = new(int64(corev1.DefaultTerminationGracePeriodSeconds))
	}
	for i := range spec.Containers {
		container := &spec.Containers[i]
		for j := range container.Ports {
			container.Ports[j].Protocol = orDefault(container.Ports[j].Protocol, corev1.ProtocolTCP)
		}
		for _, probe := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
			if probe == nil {
				continue
			}
			probe.TimeoutSeconds = orDefault(probe.TimeoutSeconds, 1)
			probe.PeriodSeconds = orDefault(probe.PeriodSeconds, 10)
			probe.SuccessThreshold = orDefault(probe.SuccessThreshold, 1)
			probe.FailureThreshold = orDefault(probe.FailureThreshold, 3)
			setHTTPDefaults(probe.HTTPGet)
		}
		if hook := preStop(container); hook != nil {
			setHTTPDefaults(hook.HTTPGet)
		}
	}
}

func setHTTPDefaults(get *corev1.HTTPGetAction) {
	if get == nil {
		return
	}
	get.Path = orDefault(get.Path, "/")
	get.Scheme = orDefault(get.Scheme, corev1.URISchemeHTTP)
}

func orDefault[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}

	return value
}

func preStop(container *corev1.Container) *corev1.LifecycleHandler {
	if container.Lifecycle == nil {
		return nil
	}

	return container.Lifecycle.PreStop
}

// Check reports the first thing in spec that cannot be done with a plain process.
func Check(spec *corev1.PodSpec, binaries Binaries) error {
	switch {
	case len(spec.InitContainers) > 0:
		return fmt.Errorf("initContainers: %q: a pod has one container here and no init containers", spec.InitContainers[0].Name)
	case len(spec.Containers) != 1:
		return fmt.Errorf("containers: there are %d: a pod has one container here", len(spec.Containers))
	case len(spec.ReadinessGates) > 0:
		return fmt.Errorf("readinessGates: %q: not supported here", spec.ReadinessGates[0].ConditionType)
	case orDefault(spec.RestartPolicy, corev1.RestartPolicyAlways) != corev1.RestartPolicyAlways:
		return fmt.Errorf("restartPolicy: %q: only Always is supported here", spec.RestartPolicy)
	}
	container := &spec.Containers[0]
	if err := checkContainer(container, binaries); err != nil {
		return fmt.Errorf("container %q: %w", container.Name, err)
	}

	return nil
}

func checkContainer(container *corev1.Container, binaries Binaries) error {
	if _, _, err := entrypoint(container, binaries); err != nil {
		return err
	}
	if container.WorkingDir != "" {
		return fmt.Errorf("workingDir: %q: not supported here: a process has a folder of its own", container.WorkingDir)
	}
	for _, probe := range []struct {
		name  string
		probe *corev1.Probe
	}{
		{"startupProbe", container.StartupProbe}, {"livenessProbe", container.LivenessProbe}, {"readinessProbe", container.ReadinessProbe},
	} {
		if probe.probe != nil && probe.probe.GRPC == nil && probe.probe.HTTPGet == nil {
			return fmt.Errorf("%s: only grpc and httpGet are supported here", probe.name)
		}
	}
	if container.Lifecycle == nil {
		return nil
	}
	if container.Lifecycle.PostStart != nil {
		return errors.New("lifecycle.postStart: not supported here")
	}
	if container.Lifecycle.StopSignal != nil {
		return fmt.Errorf("lifecycle.stopSignal: %q: not supported here: it is SIGTERM", *container.Lifecycle.StopSignal)
	}
	if hook := container.Lifecycle.PreStop; hook != nil && hook.Sleep == nil && hook.HTTPGet == nil {
		return errors.New("lifecycle.preStop: only sleep and httpGet are supported here")
	}

	return nil
}

// entrypoint finds the binary that stands for the container's image, and the arguments that come with its command.
func entrypoint(container *corev1.Container, binaries Binaries) (binary string, args []string, err error) {
	name := imageName(container.Image)
	binary, ok := binaries[name]
	if !ok {
		return "", nil, fmt.Errorf("image %q: there is no binary %q; there are: %s",
			container.Image, name, strings.Join(slices.Sorted(maps.Keys(binaries)), ", "))
	}
	if len(container.Command) == 0 {
		return binary, nil, nil
	}
	if path.Base(container.Command[0]) != name {
		return "", nil, fmt.Errorf("command %q: image %q has only the program %q", container.Command[0], container.Image, name)
	}

	return binary, container.Command[1:], nil
}

// imageName is the last element of an image's name, without tag and digest.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	name, _, _ := strings.Cut(path.Base(image), ":")

	return name
}
