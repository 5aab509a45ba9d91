{{- define "pinstripe.geoipClaim" -}}
{{ .Values.geoip.claim.existingClaim | default (printf "%s-geoip" (include "pinstripe.fullname" .)) }}
{{- end -}}

{{/*
A container that fetches the database into /var/lib/geoip. Takes a list: the root, and "start" (a gateway starts without the
database rather than not at all) or "update" (a failure is one).
*/}}
{{- define "pinstripe.geoipFetch" -}}
{{- $root := index . 0 -}}
{{- $geoip := $root.Values.geoip -}}
name: geoip
image: {{ include "pinstripe.image" (list $geoip.image "") }}
imagePullPolicy: {{ $geoip.image.pullPolicy }}
command: [/bin/sh, /etc/geoip/fetch.sh, {{ index . 1 }}]
env:
  - { name: GEOIP_URL, value: {{ $geoip.url | quote }} }
resources:
  {{- toYaml $geoip.resources | nindent 2 }}
securityContext:
  {{- include "pinstripe.containerSecurity" . | nindent 2 }}
volumeMounts:
  - { name: geoip, mountPath: /var/lib/geoip }
  - { name: geoip-script, mountPath: /etc/geoip, readOnly: true }
  {{- if $geoip.existingSecret }}
  - { name: geoip-secret, mountPath: /secrets, readOnly: true }
  {{- end }}
{{- end -}}

{{/* The volumes that it needs beside that of the database. */}}
{{- define "pinstripe.geoipVolumes" -}}
- name: geoip-script
  configMap:
    name: {{ include "pinstripe.fullname" . }}-geoip
{{- if .Values.geoip.existingSecret }}
- name: geoip-secret
  secret:
    secretName: {{ .Values.geoip.existingSecret }}
    defaultMode: 0440
    items:
      - { key: {{ .Values.geoip.key }}, path: netrc }
{{- end }}
{{- end -}}
