{{- define "stellar-peers.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "stellar-peers.fullname" -}}
{{- $name := include "stellar-peers.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Name of what is in no namespace: installations for namespaces of their own can be many. */}}
{{- define "stellar-peers.clusterName" -}}
{{- if .Values.namespaces }}
{{- printf "%s-%s" (include "stellar-peers.fullname" .) .Release.Namespace | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- include "stellar-peers.fullname" . }}
{{- end }}
{{- end }}

{{- define "stellar-peers.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stellar-peers.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "stellar-peers.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "stellar-peers.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Labels, and the annotations where there are any. */}}
{{- define "stellar-peers.metadata" -}}
labels:
  {{- include "stellar-peers.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "stellar-peers.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "stellar-peers.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "stellar-peers.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "stellar-peers.webhookPort" -}}
{{- .Values.webhook.port | default (ternary 9443 10250 .Values.hostNetwork) }}
{{- end }}

{{- /* Another name where cert-manager makes it: a release that changes its mode keeps clear of what isn't its own. */}}
{{- define "stellar-peers.tlsSecret" -}}
{{- $suffix := eq .Values.tls.mode "certManager" | ternary "cert-manager" "tls" }}
{{- .Values.tls.secretName | default (printf "%s-%s" (include "stellar-peers.fullname" .) $suffix) }}
{{- end }}

{{- /* Not empty where the program itself keeps the certificate. */}}
{{- define "stellar-peers.keepsCertificate" -}}
{{- if and .Values.webhook.enabled (has .Values.tls.mode (list "helm" "self")) }}yes{{ end }}
{{- end }}

{{- /* Not empty where callers of the webhook have to show a certificate. */}}
{{- define "stellar-peers.asksCallers" -}}
{{- with .Values.webhook }}
{{- if and .enabled (or .clientCA.configMap .clientCA.secret) }}yes{{ end }}
{{- end }}
{{- end }}

{{- /* What goes wrong in a way that no schema can tell. */}}
{{- define "stellar-peers.validate" -}}
{{- if and .Values.webhook.clientCA.configMap .Values.webhook.clientCA.secret }}
{{- fail "webhook.clientCA.configMap and webhook.clientCA.secret are both set: the CA of the callers is in one of them" }}
{{- end }}
{{- if not (or .Values.webhook.enabled .Values.discovery.enabled) }}
{{- fail "webhook.enabled and discovery.enabled are both false: nothing would be left to do" }}
{{- end }}
{{- if and .Values.webhook.enabled (eq .Values.tls.mode "existing") }}
{{- if not .Values.tls.secretName }}
{{- fail "tls.mode existing needs tls.secretName: the Secret in the release's namespace with tls.crt and tls.key" }}
{{- end }}
{{- if not (contains "-----BEGIN CERTIFICATE-----" .Values.tls.caBundle) }}
{{- fail "tls.mode existing needs tls.caBundle: the PEM of the CA that issued the certificate, such as by --set-file tls.caBundle=ca.crt" }}
{{- end }}
{{- end }}
{{- if eq (include "stellar-peers.webhookPort" .) (toString .Values.http.port) }}
{{- fail (printf "webhook.port and http.port are both %v" .Values.http.port) }}
{{- end }}
{{- end }}
