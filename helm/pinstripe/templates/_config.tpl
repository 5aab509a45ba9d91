{{/* The configuration of each component: what values say, with what the chart knows laid over it, as TOML. */}}

{{/*
One value as TOML. Helm reads every number of a values file as a float, and its own toToml writes 1000000 as 1e+06 and 5 as
5.0, which no whole number of the configuration accepts.
*/}}
{{- define "pinstripe.tomlValue" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) }}{{ printf "%.0f" . }}{{ else }}{{ printf "%v" . }}{{ end -}}
{{- else if kindIs "slice" . -}}
[{{ range $at, $item := . }}{{ if $at }}, {{ end }}{{ include "pinstripe.tomlValue" $item }}{{ end }}]
{{- else if kindIs "map" . -}}
{{- fail "a configuration has no tables within lists" -}}
{{- else -}}
{{- toRawJson . -}}
{{- end -}}
{{- end -}}

{{/* A tree as TOML: plain keys first, then tables. Takes a list: the tree, its path with a dot at the end. Null is left out. */}}
{{- define "pinstripe.toml" -}}
{{- $path := index . 1 -}}
{{- range $key, $value := index . 0 }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ include "pinstripe.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $key, $value := index . 0 }}
{{- if kindIs "map" $value }}

[{{ $path }}{{ $key }}]
{{- include "pinstripe.toml" (list $value (printf "%s%s." $path $key)) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What all processes are told: how to stop, how to log. Takes the component's values. */}}
{{- define "pinstripe.commonConfig" -}}
http:
  drain_delay: {{ .drainDelaySeconds }}s
  drain: {{ .drainSeconds }}s
{{- end -}}

{{/* Where traces go, the same for all. Takes the root. */}}
{{- define "pinstripe.tracesConfig" -}}
{{- with .Values.monitoring.traces }}
{{- if .endpoint }}
traces:
  endpoint: {{ .endpoint | quote }}
  sampled: {{ .sampled }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "pinstripe.tlsConfig" -}}
{{- if .existingSecret }}
tls:
  cert_file: /secrets/tls/tls.crt
  key_file: /secrets/tls/tls.key
{{- end }}
{{- end -}}

{{- define "pinstripe.diskCacheConfig" -}}
{{- if .sizeGiB }}
cache:
  disk_dir: /var/cache/pinstripe
  disk_bytes: {{ mul (int64 .sizeGiB) 1073741824 }}
{{- end }}
{{- end -}}

{{- define "pinstripe.gatewayKnown" -}}
{{- $gateway := .Values.gateway -}}
listen: {{ printf "%s:8080" .Values.bindAddress | quote }}
internal_listen: {{ printf "%s:9090" .Values.bindAddress | quote }}
public_url: {{ $gateway.publicUrl | quote }}
database_url_file: /secrets/database-url
network_key_file: /secrets/network.key
{{- if .Values.adminToken.existingSecret }}
# Loopback of the pod: nothing but `kubectl port-forward` gets there.
admin_listen: "127.0.0.1:8081"
admin_token_file: /secrets/admin.token
{{- end }}
{{- if .Values.redis.existingSecret }}
redis_url_file: /secrets/redis-url
{{- end }}
{{ include "pinstripe.commonConfig" $gateway }}
{{ include "pinstripe.tracesConfig" . }}
{{ include "pinstripe.tlsConfig" $gateway.tls }}
{{ include "pinstripe.diskCacheConfig" $gateway.diskCache }}
uploads:
  spool_dir: /var/spool/pinstripe
  spool_bytes: {{ mul (int64 $gateway.spool.sizeGiB) 1073741824 }}
reads:
  trusted_proxies: {{ toJson $gateway.trustedProxies }}
  subdomain_hosts: {{ toJson (concat (list) $gateway.subdomainHosts (ternary (list $gateway.ingress.host) (list) $gateway.ingress.enabled) | uniq) }}
{{- if ne .Values.geoip.mode "none" }}
geoip:
  path: /var/lib/geoip/city.mmdb
{{- end }}
{{- end -}}

{{- define "pinstripe.monitorKnown" -}}
listen: {{ printf "%s:9090" .Values.bindAddress | quote }}
database_url_file: /secrets/database-url
network_key_file: /secrets/network.key
{{ include "pinstripe.commonConfig" .Values.monitor }}
{{ include "pinstripe.tracesConfig" . }}
{{- end -}}

{{/* Takes a list: the root, the ordinal of the node. */}}
{{- define "pinstripe.pinnerKnown" -}}
{{- $root := index . 0 -}}
{{- $pinner := $root.Values.pinner -}}
listen: {{ printf "%s:4100" $root.Values.bindAddress | quote }}
internal_listen: {{ printf "%s:9090" $root.Values.bindAddress | quote }}
url: {{ include "pinstripe.pinnerUrl" . | quote }}
data_dir: /data
gateways: {{ toJson ($pinner.gateways | default (list (include "pinstripe.gatewayInside" $root))) }}
{{- if $pinner.invite.existingSecret }}
invite_file: /secrets/invite
{{- end }}
capacity: {{ printf "%d GiB" (div (mul (int64 $pinner.storage.sizeGiB) 9) 10) | quote }}
{{ include "pinstripe.commonConfig" $pinner }}
{{ include "pinstripe.tracesConfig" $root }}
{{ include "pinstripe.tlsConfig" $pinner.tls }}
{{ include "pinstripe.diskCacheConfig" $pinner.diskCache }}
{{- end -}}

{{/* How nodes of this release reach gateways: inside the cluster, unless they speak TLS with a certificate for their public name. */}}
{{- define "pinstripe.gatewayInside" -}}
{{- if .Values.gateway.tls.existingSecret -}}
{{ .Values.gateway.publicUrl }}
{{- else -}}
http://{{ include "pinstripe.fullname" . }}-gateway.{{ .Release.Namespace }}.svc:{{ .Values.gateway.service.port }}
{{- end -}}
{{- end -}}

{{/* The URL of one node. Takes a list: the root, its ordinal. */}}
{{- define "pinstripe.pinnerUrl" -}}
{{- $root := index . 0 -}}
{{- $pinner := $root.Values.pinner -}}
{{- $inside := printf "http://{name}.{namespace}.svc:%d" (int64 $pinner.service.port) -}}
{{- include "pinstripe.ofNode" (list $root (index . 1) ($pinner.url | default $inside)) -}}
{{- end -}}

{{/* A text with the marks of one node filled in. Takes a list: the root, its ordinal, the text. */}}
{{- define "pinstripe.ofNode" -}}
{{- $root := index . 0 -}}
{{- $ordinal := index . 1 -}}
{{- $name := printf "%s-pinner-%d" (include "pinstripe.fullname" $root) $ordinal -}}
{{- $nodePort := add (int64 $root.Values.pinner.service.nodePortFirst) $ordinal -}}
{{- index . 2 | replace "{name}" $name | replace "{namespace}" $root.Release.Namespace | replace "{ordinal}" (toString $ordinal) | replace "{nodePort}" (toString $nodePort) -}}
{{- end -}}

{{/* The file of a component. Takes a list: what values say, what the chart knows as YAML. */}}
{{- define "pinstripe.configFile" -}}
{{- $known := index . 1 | fromYaml -}}
{{- if hasKey $known "Error" }}{{ fail $known.Error }}{{ end -}}
{{- $said := mergeOverwrite (dict "log" (dict "format" "json")) (deepCopy (index . 0)) -}}
{{- include "pinstripe.toml" (list (mergeOverwrite $said $known) "") | trim -}}
{{- end -}}

{{/* The projected volume of secrets, by reference. Takes a list: the root, then names of what the component needs. */}}
{{- define "pinstripe.secretsVolume" -}}
{{- $root := index . 0 -}}
name: secrets
projected:
  # Owner and the pod's group; nobody else.
  defaultMode: 0440
  sources:
  {{- range rest . }}
    - secret:
        name: {{ .secret.existingSecret }}
        {{- if .optional }}
        optional: true
        {{- end }}
        items:
        {{- range $key, $path := .items }}
          - { key: {{ $key }}, path: {{ $path }} }
        {{- end }}
  {{- end }}
{{- end -}}
