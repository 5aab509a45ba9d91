{{/* Names, labels and the parts of pods that every component has. What a component's configuration is stands in _config.tpl. */}}

{{- define "pinstripe.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "pinstripe" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-pinstripe" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a component. Takes a list: the root, the component. */}}
{{- define "pinstripe.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: pinstripe
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The labels of an object. Takes a list: the root, the component. */}}
{{- define "pinstripe.labels" -}}
{{- $root := index . 0 -}}
{{ include "pinstripe.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Metadata of an object: name, namespace, labels. Takes a list: the root, the component, what follows the full name. */}}
{{- define "pinstripe.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "pinstripe.fullname" $root }}-{{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "pinstripe.labels" (list $root (index . 1)) | nindent 2 }}
{{- end -}}

{{/* An image by repository, tag and perhaps digest. Takes a list: the image's values, the tag when none is given. */}}
{{- define "pinstripe.image" -}}
{{- $image := index . 0 -}}
{{ $image.repository }}:{{ $image.tag | default (index . 1) }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{/* What no container of ours may do. */}}
{{- define "pinstripe.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The security context of a pod. Takes the number of its user and group, or null where the cluster gives numbers out. */}}
{{- define "pinstripe.podSecurity" -}}
runAsNonRoot: true
{{- if . }}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
fsGroup: {{ int64 . }}
# Without it every file of a large volume is looked at on every start.
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The first lines of every pod's spec. Takes a list: the root, the number of its user. */}}
{{- define "pinstripe.podStart" -}}
{{- $root := index . 0 -}}
# Kubernetes would put a variable for every Service of the namespace into the environment.
enableServiceLinks: false
automountServiceAccountToken: false
securityContext:
  {{- include "pinstripe.podSecurity" (index . 1) | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where pods may run. Takes a list: the component's values, the selector's labels, whether it is a Deployment's pod. */}}
{{- define "pinstripe.placement" -}}
{{- $values := index . 0 -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpread }}
topologySpreadConstraints:
  {{- range $key, $when := dict "topology.kubernetes.io/zone" .zone "kubernetes.io/hostname" .host }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $when }}
    labelSelector:
      matchLabels:
        {{- index $ 1 | nindent 8 }}
    {{- if index $ 2 }}
    # During an update the new pods are spread among themselves.
    matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A probe by HTTP. Takes a list: path, seconds between tries, failures until it counts. */}}
{{- define "pinstripe.probe" -}}
httpGet:
  path: {{ index . 0 }}
  port: internal
periodSeconds: {{ index . 1 }}
timeoutSeconds: 3
failureThreshold: {{ index . 2 }}
{{- end -}}

{{/*
Seconds from the first signal until a pod is killed: the pause, the draining of connections, as much again for what they left to be
done (a gateway's last pieces), and what a process takes to write down.
*/}}
{{- define "pinstripe.graceSeconds" -}}
{{- add .drainDelaySeconds (mul 2 .drainSeconds) 15 -}}
{{- end -}}

{{/* A container that brings the schema up to date. It may run several times, and several may run at once. */}}
{{- define "pinstripe.migrate" -}}
name: migrate
image: {{ include "pinstripe.image" (list .Values.image .Chart.AppVersion) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [migrate, --database-file, /secrets/database-url]
resources:
  {{- toYaml .Values.migration.resources | nindent 2 }}
securityContext:
  {{- include "pinstripe.containerSecurity" . | nindent 2 }}
volumeMounts:
  - { name: secrets, mountPath: /secrets, readOnly: true }
{{- end -}}
