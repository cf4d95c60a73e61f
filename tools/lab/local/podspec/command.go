package podspec

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Command is a program to start.
type Command struct {
	Path string
	Args []string
	// Env is all of the program's environment, sorted.
	Env []string
}

// Cluster is what a pod can refer to.
type Cluster struct {
	Binaries Binaries
	// ConfigMap finds a ConfigMap.
	ConfigMap func(namespace, name string) (*corev1.ConfigMap, bool)
	// Env has further variables for a pod: what it is told here because no cluster is there to find it in. They go
	// over its own.
	Env func(namespace string, pod *corev1.Pod) map[string]string
}

// Command is what the pod's container runs. The pod has passed [Check] and has its IP.
//
// Variables are made as the kubelet does: envFrom, then env over it, each value expanded with the variables before
// it, and at last command and arguments with all of them. BIND_ADDRESS is the pod's IP: it stands in for the pod's
// network namespace, as without one a server that listens on all addresses takes the port of every pod.
func (c Cluster) Command(pod *corev1.Pod) (Command, error) {
	container := &pod.Spec.Containers[0]
	binary, args, err := entrypoint(container, c.Binaries)
	if err != nil {
		return Command{}, fmt.Errorf("container %q: %w", container.Name, err)
	}
	vars, err := c.variables(pod, container)
	if err != nil {
		return Command{}, fmt.Errorf("container %q: %w", container.Name, err)
	}
	command := Command{Path: binary}
	for _, arg := range slices.Concat(args, container.Args) {
		command.Args = append(command.Args, expand(arg, vars))
	}
	vars["BIND_ADDRESS"] = pod.Status.PodIP
	if c.Env != nil {
		maps.Copy(vars, c.Env(pod.Namespace, pod))
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		command.Env = append(command.Env, name+"="+vars[name])
	}

	return command, nil
}

func (c Cluster) variables(pod *corev1.Pod, container *corev1.Container) (map[string]string, error) {
	vars := map[string]string{"HOSTNAME": pod.Name}
	for i, from := range container.EnvFrom {
		if err := c.addAll(vars, pod.Namespace, from); err != nil {
			return nil, fmt.Errorf("envFrom[%d]: %w", i, err)
		}
	}
	for _, env := range container.Env {
		if env.ValueFrom == nil {
			vars[env.Name] = expand(env.Value, vars)

			continue
		}
		value, ok, err := c.valueFrom(pod, container, env.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", env.Name, err)
		}
		if ok {
			vars[env.Name] = value
		}
	}

	return vars, nil
}

func (c Cluster) addAll(vars map[string]string, namespace string, from corev1.EnvFromSource) error {
	ref := from.ConfigMapRef
	if ref == nil {
		return errors.New("only configMapRef is supported here")
	}
	configMap, ok := c.ConfigMap(namespace, ref.Name)
	if !ok && !isTrue(ref.Optional) {
		return fmt.Errorf("there is no ConfigMap %q in namespace %q", ref.Name, namespace)
	}
	if ok {
		for name, value := range configMap.Data {
			vars[from.Prefix+name] = value
		}
	}

	return nil
}

// valueFrom is false when there is no value and need not be.
func (c Cluster) valueFrom(pod *corev1.Pod, container *corev1.Container, from *corev1.EnvVarSource) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		value, err := field(pod, from.FieldRef.FieldPath)

		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		value, err := resourceField(container, from.ResourceFieldRef)

		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		if configMap, ok := c.ConfigMap(pod.Namespace, ref.Name); ok {
			if value, ok := configMap.Data[ref.Key]; ok {
				return value, true, nil
			}
		}
		if isTrue(ref.Optional) {
			return "", false, nil
		}

		return "", false, fmt.Errorf("there is no key %q in a ConfigMap %q in namespace %q", ref.Key, ref.Name, pod.Namespace)
	default:
		return "", false, errors.New("only fieldRef, resourceFieldRef and configMapKeyRef are supported here")
	}
}

// field is the downward API.
func field(pod *corev1.Pod, fieldPath string) (string, error) {
	if subscripted, ok := strings.CutSuffix(fieldPath, "']"); ok {
		switch base, key, _ := strings.Cut(subscripted, "['"); base {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
	}
	switch fieldPath {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs":
		return pod.Status.PodIP, nil
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP, nil
	default:
		return "", fmt.Errorf("fieldRef %q: no such field; there are metadata.name, metadata.namespace, metadata.uid, metadata.labels['KEY'], "+
			"metadata.annotations['KEY'], spec.nodeName, spec.serviceAccountName, status.podIP and status.hostIP", fieldPath)
	}
}

// resourceField is a request or limit in units of the divisor, rounded up. What has no limit has, in a cluster, the
// node's; here that is an error.
func resourceField(container *corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list, ok := map[string]corev1.ResourceList{"requests": container.Resources.Requests, "limits": container.Resources.Limits}[kind]
	if !ok {
		return "", fmt.Errorf("resourceFieldRef %q: it must begin with requests. or limits", ref.Resource)
	}
	if ref.ContainerName != "" && ref.ContainerName != container.Name {
		return "", fmt.Errorf("resourceFieldRef %q: there is no container %q", ref.Resource, ref.ContainerName)
	}
	quantity, ok := list[corev1.ResourceName(name)]
	if !ok {
		return "", fmt.Errorf("resourceFieldRef %q: the container does not set it", ref.Resource)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}

	return fmt.Sprintf("%.0f", math.Ceil(quantity.AsApproximateFloat64()/divisor.AsApproximateFloat64())), nil
}

// expand replaces each $(NAME) by its value. $$ is a dollar, and a name that is not known stays as it is (the rule is
// in the documentation of the fields command and args of a container).
func expand(text string, vars map[string]string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		text = after
		if strings.HasPrefix(text, "$") {
			out.WriteByte('$')
			text = text[1:]

			continue
		}
		if name, rest, closed := strings.Cut(text, ")"); closed && strings.HasPrefix(name, "(") {
			if value, known := vars[name[1:]]; known {
				out.WriteString(value)
			} else {
				out.WriteString("$" + name + ")")
			}
			text = rest

			continue
		}
		out.WriteByte('$')
	}
}

func isTrue(b *bool) bool { return b != nil && *b }
