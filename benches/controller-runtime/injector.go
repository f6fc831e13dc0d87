package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const (
	ourName              = "stellar-peers"
	mountPath            = "/etc/stellar-peers"
	portAnnotation       = "peers.stellar.org/port"
	membershipAnnotation = "peers.stellar.org/membership"
)

// injector adds the list to validators. It is told the members at its start and looks nothing up, which costs it
// less than the caches of a whole operator would.
type injector struct {
	decoder  admission.Decoder
	members  []string
	peerPort int32
}

var _ admission.Handler = &injector{}

// Handle adds our parts on CREATE and where the writer changes the template; in any other write they stay as stored.
func (i *injector) Handle(_ context.Context, req admission.Request) admission.Response {
	set := &appsv1.StatefulSet{}
	if err := i.decoder.Decode(req, set); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	if !isValidator(set) {
		return admission.Allowed("")
	}
	if req.Operation == admissionv1.Update {
		stored := &appsv1.StatefulSet{}
		if err := i.decoder.DecodeRaw(req.OldObject, stored); err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
		if equality.Semantic.DeepEqual(set.Spec.Template, stored.Spec.Template) {
			return admission.Allowed("")
		}
		if equality.Semantic.DeepEqual(stripped(set), stripped(stored)) {
			set.Spec.Template = stored.Spec.Template
			return patched(req, set)
		}
	}
	if err := i.inject(set); err != nil {
		return admission.Allowed("").WithWarnings(err.Error())
	}
	return patched(req, set)
}

func patched(req admission.Request, set *appsv1.StatefulSet) admission.Response {
	raw, err := json.Marshal(set)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, raw)
}

func isValidator(set *appsv1.StatefulSet) bool {
	return set.Labels["app.kubernetes.io/name"] == "stellar-node" &&
		set.Labels["app.kubernetes.io/component"] == "validator" &&
		set.Labels["stellar.org/role"] != "read-replica"
}

// inject makes our parts whole.
func (i *injector) inject(set *appsv1.StatefulSet) error {
	template := &set.Spec.Template
	core := coreContainer(template)
	if core == nil {
		return fmt.Errorf("not injected: none of the containers is stellar-core's")
	}
	if !slices.ContainsFunc(template.Spec.Volumes, isOurVolume) {
		template.Spec.Volumes = append(template.Spec.Volumes, corev1.Volume{
			Name: ourName,
			VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: ourName},
				DefaultMode:          ptr.To(corev1.ConfigMapVolumeSourceDefaultMode),
				Optional:             ptr.To(true),
			}},
		})
	}
	if !slices.ContainsFunc(core.VolumeMounts, isOurMount) {
		core.VolumeMounts = append(core.VolumeMounts, corev1.VolumeMount{
			Name:      ourName,
			MountPath: mountPath,
			ReadOnly:  true,
		})
	}
	if !declares(template, i.peerPort) {
		core.Ports = append(core.Ports, corev1.ContainerPort{
			Name:          ourName,
			ContainerPort: i.peerPort,
			Protocol:      corev1.ProtocolTCP,
		})
	}
	if template.Annotations == nil {
		template.Annotations = map[string]string{}
	}
	template.Annotations[portAnnotation] = strconv.Itoa(int(i.peerPort))
	template.Annotations[membershipAnnotation] = i.membership(set.Name)
	return nil
}

// membership is the hash of the members and of the validator itself.
func (i *injector) membership(name string) string {
	var lines []string
	for _, member := range i.members {
		lines = append(lines, fmt.Sprintf("%s:%d\n", member, i.peerPort))
	}
	if !slices.Contains(i.members, name) {
		lines = append(lines, fmt.Sprintf("%s:%d\n", name, i.peerPort))
	}
	slices.Sort(lines)
	digest := sha256.Sum256([]byte(strings.Join(lines, "")))
	return "v1:" + hex.EncodeToString(digest[:6])
}

// stripped is the template without our parts: what others wrote.
func stripped(set *appsv1.StatefulSet) *corev1.PodTemplateSpec {
	template := set.Spec.Template.DeepCopy()
	delete(template.Annotations, portAnnotation)
	delete(template.Annotations, membershipAnnotation)
	template.Spec.Volumes = slices.DeleteFunc(template.Spec.Volumes, isOurVolume)
	for index := range template.Spec.Containers {
		container := &template.Spec.Containers[index]
		container.VolumeMounts = slices.DeleteFunc(container.VolumeMounts, isOurMount)
		container.Ports = slices.DeleteFunc(container.Ports, func(port corev1.ContainerPort) bool {
			return port.Name == ourName
		})
	}
	return template
}

func coreContainer(template *corev1.PodTemplateSpec) *corev1.Container {
	for index := range template.Spec.Containers {
		container := &template.Spec.Containers[index]
		switch container.Name {
		case "stellar-node", "core", "stellar-core":
			return container
		}
	}
	if len(template.Spec.Containers) == 1 {
		return &template.Spec.Containers[0]
	}
	return nil
}

func declares(template *corev1.PodTemplateSpec, number int32) bool {
	return slices.ContainsFunc(template.Spec.Containers, func(container corev1.Container) bool {
		return slices.ContainsFunc(container.Ports, func(port corev1.ContainerPort) bool {
			return port.ContainerPort == number
		})
	})
}

func isOurVolume(volume corev1.Volume) bool {
	return volume.Name == ourName && volume.ConfigMap != nil && volume.ConfigMap.Name == ourName
}

func isOurMount(mount corev1.VolumeMount) bool {
	return mount.Name == ourName && mount.MountPath == mountPath
}
