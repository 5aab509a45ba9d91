{{/* Pods of this release. Takes a list: the root, the component. */}}
{{- define "pinstripe.pods" -}}
- podSelector:
    matchLabels:
      {{- include "pinstripe.selector" . | nindent 6 }}
{{- end -}}

{{/* Egress to the name service, wherever it is. */}}
{{- define "pinstripe.toNames" -}}
- ports:
    - { port: 53, protocol: UDP }
    - { port: 53, protocol: TCP }
{{- end -}}

{{/* Egress to the database. */}}
{{- define "pinstripe.toCollector" -}}
{{- if .Values.monitoring.traces.endpoint }}
- to:
    {{- toYaml .Values.networkPolicy.collector.to | nindent 4 }}
  ports: [{ port: {{ .Values.networkPolicy.collector.port }} }]
{{- end }}
{{- end -}}

{{- define "pinstripe.toDatabase" -}}
{{- if .Values.postgresql.enabled }}
- to:
    {{- include "pinstripe.pods" (list . "postgresql") | nindent 4 }}
  ports: [{ port: 5432 }]
{{- else }}
- to:
    {{- toYaml .Values.networkPolicy.database.to | nindent 4 }}
  ports: [{ port: {{ .Values.networkPolicy.database.port }} }]
{{- end }}
{{- end -}}

{{/*
Egress to nodes: anywhere, for they are run by strangers under addresses and ports of their own. The addresses at which clouds
give their machines credentials are left out. Pods of this release are named, for some network plugins do not count pods among
addresses.
*/}}
{{- define "pinstripe.toNodes" -}}
- to:
    {{- toYaml .Values.networkPolicy.nodes.to | nindent 4 }}
- to:
    {{- include "pinstripe.pods" (list . "pinner") | nindent 4 }}
  ports: [{ port: 4100 }]
{{- end -}}

{{/* Ingress to the internal port: Prometheus, and nobody else. Probes come from the machine, which is always let in. */}}
{{- define "pinstripe.fromPrometheus" -}}
- from:
    {{- toYaml .Values.networkPolicy.prometheus.from | nindent 4 }}
  ports: [{ port: 9090 }]
{{- end -}}
