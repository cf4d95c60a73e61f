package podspec_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/evenkeel/evenkeel/tools/lab/local/podspec"
)

var binaries = podspec.Binaries{"rng": "/bin/rng", "client": "/bin/client"}

// whole uses everything that is supported.
const whole = `
metadata:
  name: rng-6d5-abcde
  namespace: clusterip
  uid: "17"
  labels: {app: rng, topology.kubernetes.io/zone: b}
  annotations: {note: "it's"}
spec:
  nodeName: node-2
  containers:
  - name: rng
    image: registry:5000/evenkeel/rng:v1@sha256:0123
    command: [/ko-app/rng, serve]
    args: ["--seed=$(SEED)", "--as=$(NAME)", "$$(NAME)", "$(NOBODY)"]
    envFrom:
    - configMapRef: {name: settings}
    - configMapRef: {name: settings}
      prefix: X_
    - configMapRef: {name: missing, optional: true}
    env:
    - {name: SEED, value: "1$(DIGITS)"}
    - {name: EMPTY}
    - name: NAME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    - name: NAMESPACE
      valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
    - name: ID
      valueFrom: {fieldRef: {fieldPath: metadata.uid}}
    - name: IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    - name: HOST_IP
      valueFrom: {fieldRef: {fieldPath: status.hostIP}}
    - name: NODE
      valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
    - name: ACCOUNT
      valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}
    - name: ZONE
      valueFrom: {fieldRef: {fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}
    - name: NOTE
      valueFrom: {fieldRef: {fieldPath: "metadata.annotations['note']"}}
    - name: NO_LABEL
      valueFrom: {fieldRef: {fieldPath: "metadata.labels['none']"}}
    - name: CPUS
      valueFrom: {resourceFieldRef: {resource: limits.cpu}}
    - name: MEMORY
      valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}
    - name: KEY
      valueFrom: {configMapKeyRef: {name: settings, key: DIGITS}}
    - name: NO_KEY
      valueFrom: {configMapKeyRef: {name: settings, key: nothing, optional: true}}
    - {name: BIND_ADDRESS, value: "0.0.0.0"}
    resources:
      requests: {cpu: 100m}
      limits: {cpu: 1500m, memory: 64Mi}
    ports: [{name: grpc, containerPort: 8081}]
    readinessProbe: {grpc: {port: 8081}}
    livenessProbe: {httpGet: {port: 8080}}
    lifecycle: {preStop: {sleep: {seconds: 1}}}
`

func cluster() podspec.Cluster {
	return podspec.Cluster{
		Binaries: binaries,
		ConfigMap: func(namespace, name string) (*corev1.ConfigMap, bool) {
			return &corev1.ConfigMap{Data: map[string]string{"DIGITS": "23", "SEED": "0"}}, namespace == "clusterip" && name == "settings"
		},
		Env: func(namespace string, pod *corev1.Pod) map[string]string {
			return map[string]string{"DNS_SERVER": namespace + "/" + pod.Name}
		},
	}
}

func podOf(t testing.TB, document string) *corev1.Pod {
	t.Helper()
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(document), &pod); err != nil {
		t.Fatal(err)
	}
	podspec.SetDefaults(&pod.Spec)
	pod.Status.PodIP, pod.Status.HostIP = "127.0.1.1", "127.0.0.1"

	return &pod
}

func TestAPodBecomesACommandAsUnderTheKubelet(t *testing.T) {
	pod := podOf(t, whole)
	if err := podspec.Check(&pod.Spec, binaries); err != nil {
		t.Fatal(err)
	}

	got, err := cluster().Command(pod)
	if err != nil {
		t.Fatal(err)
	}

	want := podspec.Command{
		Path: "/bin/rng",
		Args: []string{"serve", "--seed=123", "--as=rng-6d5-abcde", "$(NAME)", "$(NOBODY)"},
		Env: []string{
			"ACCOUNT=default", "BIND_ADDRESS=127.0.1.1", "CPUS=2", "DIGITS=23", "DNS_SERVER=clusterip/rng-6d5-abcde", "EMPTY=",
			"HOSTNAME=rng-6d5-abcde", "HOST_IP=127.0.0.1", "ID=17", "IP=127.0.1.1", "KEY=23", "MEMORY=64", "NAME=rng-6d5-abcde",
			"NAMESPACE=clusterip", "NODE=node-2", "NOTE=it's", "NO_LABEL=", "SEED=123", "X_DIGITS=23", "X_SEED=0", "ZONE=b",
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDefaultsAreThoseOfTheAPIServer(t *testing.T) {
	pod := podOf(t, whole)

	container := pod.Spec.Containers[0]
	if got := *pod.Spec.TerminationGracePeriodSeconds; got != 30 {
		t.Errorf("grace period %d s, want 30", got)
	}
	ready, alive := container.ReadinessProbe, container.LivenessProbe
	if ready.PeriodSeconds != 10 || ready.TimeoutSeconds != 1 || ready.FailureThreshold != 3 || ready.SuccessThreshold != 1 {
		t.Errorf("probe %v", ready)
	}
	if alive.HTTPGet.Path != "/" || alive.HTTPGet.Scheme != "HTTP" {
		t.Errorf("httpGet %v", alive.HTTPGet)
	}
	if got := container.Ports[0].Protocol; got != "TCP" {
		t.Errorf("protocol %q", got)
	}
}

func TestWhatAProcessCannotDoIsRefusedByName(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*corev1.PodSpec, *corev1.Container)
		want   string
	}{
		{"unknown image", func(_ *corev1.PodSpec, c *corev1.Container) { c.Image = "docker.io/nginx" }, `container "rng": image "docker.io/nginx": there is no binary "nginx"; there are: client, rng`},
		{"no image", func(_ *corev1.PodSpec, c *corev1.Container) { c.Image = "" }, `image "": there is no binary`},
		{"another program", func(_ *corev1.PodSpec, c *corev1.Container) { c.Command = []string{"sh", "-c"} }, `command "sh": image`},
		{"working directory", func(_ *corev1.PodSpec, c *corev1.Container) { c.WorkingDir = "/srv" }, `workingDir: "/srv"`},
		{"exec probe", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{}}}
		}, `readinessProbe: only grpc and httpGet`},
		{"exec hook", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Lifecycle.PreStop = &corev1.LifecycleHandler{Exec: &corev1.ExecAction{}}
		}, `lifecycle.preStop: only sleep and httpGet`},
		{"post-start hook", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Lifecycle.PostStart = &corev1.LifecycleHandler{}
		}, `lifecycle.postStart`},
		{"stop signal", func(_ *corev1.PodSpec, c *corev1.Container) {
			c.Lifecycle.StopSignal = new(corev1.SIGINT)
		}, `lifecycle.stopSignal: "SIGINT"`},
		{"init container", func(s *corev1.PodSpec, c *corev1.Container) { s.InitContainers = []corev1.Container{*c} }, `initContainers: "rng"`},
		{"second container", func(s *corev1.PodSpec, c *corev1.Container) { s.Containers = append(s.Containers, *c) }, `containers: there are 2`},
		{"no container", func(s *corev1.PodSpec, _ *corev1.Container) { s.Containers = nil }, `containers: there are 0`},
		{"readiness gate", func(s *corev1.PodSpec, _ *corev1.Container) {
			s.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "x/y"}}
		}, `readinessGates: "x/y"`},
		{"restart policy", func(s *corev1.PodSpec, _ *corev1.Container) { s.RestartPolicy = "Never" }, `restartPolicy: "Never"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := &podOf(t, whole).Spec
			tt.change(spec, &spec.Containers[0])

			wantError(t, podspec.Check(spec, binaries), tt.want)
		})
	}
}

func TestAVariableThatCannotBeMadeIsAnErrorThatNamesIt(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*corev1.Container)
		want   string
	}{
		{"missing ConfigMap", envFrom(corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: named("gone")}}), `envFrom[0]: there is no ConfigMap "gone" in namespace "clusterip"`},
		{"Secret", envFrom(corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{}}), `envFrom[0]: only configMapRef`},
		{"missing key", env(corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: named("settings"), Key: "no"}}), `env X: there is no key "no" in a ConfigMap "settings"`},
		{"key of a Secret", env(corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{}}), `env X: only fieldRef`},
		{"unknown field", env(corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.hostname"}}), `env X: fieldRef "spec.hostname": no such field`},
		{"open subscript", env(corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app"}}), `env X: fieldRef "metadata.labels['app"`},
		{"resource that is not set", env(corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "requests.memory"}}), `resourceFieldRef "requests.memory": the container does not set it`},
		{"neither request nor limit", env(corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "cpu"}}), `resourceFieldRef "cpu": it must begin with`},
		{"other container's resource", env(corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu", ContainerName: "x"}}), `there is no container "x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := podOf(t, whole)
			tt.change(&pod.Spec.Containers[0])

			_, err := cluster().Command(pod)

			wantError(t, err, tt.want)
		})
	}
}

func envFrom(source corev1.EnvFromSource) func(*corev1.Container) {
	return func(c *corev1.Container) { c.EnvFrom = []corev1.EnvFromSource{source} }
}

func env(source corev1.EnvVarSource) func(*corev1.Container) {
	return func(c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "X", ValueFrom: &source}} }
}

func named(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with %q", err, want)
	}
}

func FuzzExpansionTouchesOnlyKnownNames(f *testing.F) {
	for _, seed := range []string{"", "plain", "$(V)", "$$(V)", "$(W)", "$(V", "$", "a$b", "$(a$(V))", "$()", "$$$(V)$", "é$(V)é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pod := podOf(t, whole)
		expanded := func(arg string) string {
			pod.Spec.Containers[0].Args = []string{arg}
			command, err := cluster().Command(pod)
			if err != nil {
				t.Fatal(err)
			}

			return command.Args[1]
		}
		if got := expanded(strings.ReplaceAll(text, "$", "$$")); got != text {
			t.Errorf("with every dollar doubled, %q became %q", text, got)
		}
		if !strings.Contains(text, "$$") && !strings.Contains(text, "$(") && expanded(text) != text {
			t.Errorf("there is nothing to expand in %q, but it became %q", text, expanded(text))
		}
		if got := expanded("$(SEED)" + text); !strings.HasPrefix(got, "123") {
			t.Errorf("the known name at the start of %q is not expanded: %q", text, got)
		}
	})
}

func TestResourcesAreRoundedUp(t *testing.T) {
	pod := podOf(t, whole)
	container := &pod.Spec.Containers[0]
	container.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("65537Ki")}
	container.Env = []corev1.EnvVar{{Name: "M", ValueFrom: &corev1.EnvVarSource{
		ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")},
	}}}
	pod.ObjectMeta = metav1.ObjectMeta{Name: "rng", Namespace: "clusterip"}

	command, err := cluster().Command(pod)
	if err != nil || !strings.Contains(strings.Join(command.Env, " "), "M=65") {
		t.Errorf("got %v, %v", command.Env, err)
	}
}
