// Plain fetch, as browsers have it: redirects to nodes, ranges, directories, conditions, and what CORS lets scripts see.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'

import { noise, site } from './content.mjs'
import { form, gateway, newKey, nodes, upload } from './network.mjs'

const files = site(41)
const large = noise(3_500_000, 42)
let file
let folder
before(async () => {
  const key = await newKey('fetch')
  file = (await upload(key, large)).cid
  folder = (await upload(key, form(files))).cid
})

async function bytes (answer) {
  return Buffer.from(await answer.arrayBuffer())
}

test('a reader is sent to a node, which serves the file', async () => {
  const sent = await fetch(`${gateway}/ipfs/${file}`, { redirect: 'manual' })
  assert.equal(sent.status, 307)
  assert.ok(nodes.includes(new URL(sent.headers.get('location')).origin))
  const read = await fetch(`${gateway}/ipfs/${file}`)
  assert.equal(read.status, 200)
  assert.ok(nodes.includes(new URL(read.url).origin))
  assert.deepEqual(await bytes(read), large)
})

test('the gateway serves it itself when asked to', async () => {
  const read = await fetch(`${gateway}/ipfs/${file}?route=proxy`)
  assert.equal(read.redirected, false)
  assert.deepEqual(await bytes(read), large)
})

const ranges = {
  'bytes=0-9': [0, 10],
  'bytes=1048570-1048585': [1_048_570, 1_048_586],
  'bytes=3499990-': [3_499_990, 3_500_000],
  'bytes=-7': [3_499_993, 3_500_000],
  'bytes=3000000-9999999': [3_000_000, 3_500_000]
}
for (const [range, [start, end]] of Object.entries(ranges)) {
  test(`the range ${range} survives the redirect`, async () => {
    const read = await fetch(`${gateway}/ipfs/${file}`, { headers: { range } })
    assert.equal(read.status, 206)
    assert.equal(read.headers.get('content-range'), `bytes ${start}-${end - 1}/3500000`)
    assert.deepEqual(await bytes(read), large.subarray(start, end))
  })
}

test('a range outside is 416', async () => {
  const read = await fetch(`${gateway}/ipfs/${file}`, { headers: { range: 'bytes=3500000-' } })
  assert.equal(read.status, 416)
})

test('HEAD tells the length, and a known ETag is not sent again', async () => {
  const head = await fetch(`${gateway}/ipfs/${file}`, { method: 'HEAD' })
  assert.equal(head.status, 200)
  assert.equal(head.headers.get('content-length'), '3500000')
  assert.equal((await head.text()), '')
  const again = await fetch(`${gateway}/ipfs/${file}`, { headers: { 'if-none-match': head.headers.get('etag') } })
  assert.equal(again.status, 304)
})

test('a directory gets its slash, then its index.html', async () => {
  const slash = await fetch(`${gateway}/ipfs/${folder}`, { redirect: 'manual' })
  assert.ok([301, 307].includes(slash.status))
  const read = await fetch(`${gateway}/ipfs/${folder}`)
  assert.equal(new URL(read.url).pathname, `/ipfs/${folder}/`)
  assert.match(read.headers.get('content-type'), /^text\/html/)
  assert.equal(await read.text(), '<h1>site 41</h1>')
})

test('every file of a directory has its address', async () => {
  for (const { path, content } of files) {
    const read = await fetch(`${gateway}/ipfs/${folder}/${path.split('/').map(encodeURIComponent).join('/')}`)
    assert.equal(read.status, 200, path)
    assert.deepEqual(await bytes(read), content, path)
  }
  const list = await (await fetch(`${gateway}/ipfs/${folder}/images/`)).text()
  for (const name of ['large.bin', 'small.bin', 'deep']) assert.ok(list.includes(name), name)
  assert.equal((await fetch(`${gateway}/ipfs/${folder}/nothing`)).status, 404)
})

test('scripts of any page may read, on the way and at its end', async () => {
  const origin = 'https://page.example'
  for (const redirect of ['manual', 'follow']) {
    const read = await fetch(`${gateway}/ipfs/${file}`, { redirect, headers: { origin } })
    assert.equal(read.headers.get('access-control-allow-origin'), '*')
    const exposed = read.headers.get('access-control-expose-headers').toLowerCase()
    for (const name of ['content-range', 'content-length', 'x-ipfs-path', 'x-ipfs-roots']) {
      assert.ok(exposed.includes(name), `${name} on ${read.status}`)
    }
    await read.body?.cancel()
  }
  const asked = { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'range' }
  const allowed = await fetch(`${gateway}/ipfs/${file}`, { method: 'OPTIONS', headers: asked })
  assert.ok(allowed.ok)
  assert.match(allowed.headers.get('access-control-allow-methods'), /GET/)
  assert.match(allowed.headers.get('access-control-allow-headers').toLowerCase(), /range/)
})
