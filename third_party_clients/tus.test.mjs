// tus-js-client against /tus: whole files, broken off and taken up again, in parallel parts, without a length, given up.

import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { before, test } from 'node:test'

import { Upload } from 'tus-js-client'

import { noise } from './content.mjs'
import { gateway, newKey, upload as uploadPlainly } from './network.mjs'
import { cidOfFile } from './oracle.mjs'

let key
let headers
before(async () => {
  key = await newKey('tus')
  headers = { authorization: `Bearer ${key}` }
})

const MIB = 1 << 20

/** Uploads, and tells the CID of the last answer and where the upload was. `watch` sees the upload and the bytes that were taken. */
function upload (content, options = {}, watch = () => {}) {
  return new Promise((resolve, reject) => {
    const upload = new Upload(content, {
      endpoint: `${gateway}/tus`,
      headers,
      retryDelays: [0, 100, 500],
      onError: reject,
      onSuccess: ({ lastResponse }) => resolve({ cid: lastResponse.getHeader('upload-cid'), url: upload.url }),
      onChunkComplete: (_, accepted) => watch(upload, accepted, resolve),
      ...options
    })
    upload.start()
  })
}

for (const size of [1, MIB, 5 * MIB + 17]) {
  test(`a file of ${size} bytes`, async () => {
    const content = noise(size, size + 1)
    const { cid, url } = await upload(content, { metadata: { filename: 'tüs.bin', filetype: 'application/octet-stream' } })
    assert.equal(cid, await cidOfFile(content))
    assert.deepEqual(Buffer.from(await (await fetch(`${gateway}/ipfs/${cid}`)).arrayBuffer()), content)
    const head = await fetch(url, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } })
    assert.equal(head.headers.get('upload-offset'), `${size}`)
    const listed = await (await fetch(`${gateway}/v1/files/${cid}`, { headers })).json()
    assert.equal(listed.name, 'tüs.bin')
  })
}

test('chunks of odd lengths make the same file', async () => {
  const content = noise(3 * MIB + 1, 50)
  const { cid } = await upload(content, { chunkSize: 700_001 })
  assert.equal(cid, await cidOfFile(content))
})

test('the first bytes may come with the creation', async () => {
  const content = noise(2 * MIB, 51)
  const { cid } = await upload(content, { uploadDataDuringCreation: true, chunkSize: 900_000 })
  assert.equal(cid, await cidOfFile(content))
})

test('an upload that is broken off goes on where it was', async () => {
  const content = noise(6 * MIB, 52)
  const url = await upload(content, { chunkSize: MIB }, async (running, accepted, resolve) => {
    if (accepted >= 3 * MIB) {
      await running.abort()
      resolve(running.url)
    }
  })
  let first
  const onBeforeRequest = (request) => {
    if (request.getMethod() === 'PATCH') first ??= Number(request.getHeader('Upload-Offset'))
  }
  const { cid } = await upload(content, { uploadUrl: url, chunkSize: MIB, onBeforeRequest })
  assert.equal(cid, await cidOfFile(content))
  assert.ok(first >= 3 * MIB, `went on at ${first}`)
})

test('parallel parts become one file', async () => {
  const content = noise(5 * MIB + 3, 53)
  const { cid, url } = await upload(content, { parallelUploads: 3 })
  const expected = await cidOfFile(content)
  if (cid) assert.equal(cid, expected)
  const head = await fetch(url, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } })
  assert.match(head.headers.get('upload-concat'), /^final;/)
  assert.equal((await fetch(`${gateway}/v1/files/${expected}`, { headers })).status, 200)
})

test('a stream tells its length at the end', async () => {
  const content = noise(2 * MIB + 5, 54)
  const pieces = []
  for (let start = 0; start < content.length; start += 100_000) pieces.push(content.subarray(start, start + 100_000))
  const { cid } = await upload(Readable.from(pieces), { uploadLengthDeferred: true, chunkSize: 512 * 1024 })
  assert.equal(cid, await cidOfFile(content))
})

test('an upload that is given up is gone', async () => {
  const url = await upload(noise(3 * MIB, 55), { chunkSize: MIB }, async (running, accepted, resolve) => {
    if (accepted >= MIB) {
      await running.abort(true)
      resolve(running.url)
    }
  })
  const head = await fetch(url, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } })
  assert.ok([404, 410].includes(head.status), `${head.status}`)
})

test('PATCH may be called POST', async () => {
  const content = noise(MIB, 56)
  const { cid } = await upload(content, { overridePatchMethod: true })
  assert.equal(cid, await cidOfFile(content))
})

test('strangers and what is too long are refused before any byte', async () => {
  const refusal = async (options) => {
    const error = await upload(noise(1000, 57), options).then(() => null, (error) => error)
    return error.originalResponse.getStatus()
  }
  assert.equal(await refusal({ headers: {}, retryDelays: null }), 401)
  assert.ok([403, 413].includes(await refusal({ uploadSize: 2 ** 52, retryDelays: null })))
})

test('the same file by tus and by body is one pin', async () => {
  const content = noise(MIB + 9, 58)
  const { cid } = await upload(content)
  assert.equal((await uploadPlainly(key, content)).duplicate, true)
  assert.equal((await fetch(`${gateway}/v1/files/${cid}`, { headers })).status, 200)
})
