// The Pinata SDK (REST v3), with its base addresses pointed at us.

import assert from 'node:assert/strict'
import { before, test } from 'node:test'

import { PinataSDK } from 'pinata'

import { noise } from './content.mjs'
import { gateway, newKey, upload } from './network.mjs'
import { cidOfDirectory, cidOfFile, kuboV1 } from './oracle.mjs'

function sdk (pinataJwt) {
  const sdk = new PinataSDK({
    pinataJwt,
    endpointUrl: `${gateway}/v3`,
    uploadUrl: `${gateway}/v3`,
    legacyUploadUrl: `${gateway}/pinning/pinFileToIPFS`,
    pinataGateway: 'replaced below'
  })
  // The constructor turns every gateway into https.
  sdk.config.pinataGateway = gateway
  return sdk
}

let pinata
before(async () => { pinata = sdk(await newKey('pinata')) })

const text = (content, name) => new File([content], name, { type: 'text/plain' })

test('the key is good, and another is not', async () => {
  assert.ok(await pinata.testAuthentication())
  await assert.rejects(sdk('nobody').testAuthentication(), { name: 'AuthenticationError', statusCode: 401 })
})

test('a file with all that can be said of it', async () => {
  const made = await pinata.upload.public.file(text('hello pinata', 'hello.txt')).name('greeting').keyvalues({ env: 'test', n: '1' })
  assert.equal(made.cid, await cidOfFile(Buffer.from('hello pinata')))
  assert.equal(made.name, 'greeting')
  assert.equal(made.size, 12)
  assert.equal(made.number_of_files, 1)
  assert.equal(made.mime_type, 'text/plain')
  assert.equal(made.group_id, null)
  assert.deepEqual(made.keyvalues, { env: 'test', n: '1' })
  assert.equal(made.network, 'public')
  assert.ok(!Number.isNaN(Date.parse(made.created_at)))
  const read = await pinata.gateways.public.get(made.cid)
  assert.equal(read.data, 'hello pinata')
  const again = await pinata.files.public.get(made.id)
  assert.deepEqual([again.id, again.cid, again.name, again.keyvalues], [made.id, made.cid, made.name, made.keyvalues])
})

test('a file that keeps its own name, and CIDs of version 0', async () => {
  const made = await pinata.upload.public.file(text('its own name', 'own.txt'))
  assert.equal(made.name, 'own.txt')
  const old = await pinata.upload.public.file(text('an old cid', 'old.txt')).cidVersion('v0')
  assert.match(old.cid, /^Qm/)
})

test('JSON, base64 and what lies behind a URL', async () => {
  const json = await pinata.upload.public.json({ hello: 'json' }).name('doc.json')
  assert.equal(json.cid, await cidOfFile(Buffer.from('{"hello":"json"}')))
  assert.deepEqual((await pinata.gateways.public.get(json.cid)).data, { hello: 'json' })
  const base64 = await pinata.upload.public.base64(Buffer.from('from base64').toString('base64'))
  assert.equal(base64.cid, await cidOfFile(Buffer.from('from base64')))
  const url = await pinata.upload.public.url(`${gateway}/ipfs/${json.cid}`).name('copy')
  assert.equal(url.cid, json.cid)
})

test('several files are a directory', async () => {
  const files = [text('one', 'one.txt'), text('two', 'two.txt')]
  const made = await pinata.upload.public.fileArray(files).name('folder').keyvalues({ kind: 'folder' })
  const expected = [{ path: 'one.txt', content: Buffer.from('one') }, { path: 'two.txt', content: Buffer.from('two') }]
  assert.equal(made.cid, await cidOfDirectory(expected))
  assert.equal(made.name, 'folder')
  assert.equal(made.number_of_files, 2)
  assert.deepEqual((await pinata.files.public.get(made.id)).keyvalues, { kind: 'folder' })
})

// The SDK sends these in several requests.
test('a file of more than 90 MiB', async () => {
  const content = noise(94_371_840 + 5, 700)
  const group = await pinata.groups.public.create({ name: 'large ones' })
  const made = await pinata.upload.public.file(new File([content], 'large.bin')).name('läRge').keyvalues({ kind: 'large' }).group(group.id)
  assert.equal(made.cid, await cidOfFile(content, kuboV1))
  assert.deepEqual([made.name, made.size, made.number_of_files, made.group_id], ['läRge', content.length, 1, group.id])
  assert.deepEqual(made.keyvalues, { kind: 'large' })
  assert.equal(made.mime_type, 'application/octet-stream')
  const read = Buffer.from(await (await fetch(`${gateway}/ipfs/${made.cid}`)).arrayBuffer())
  assert.ok(read.equals(content))
  const old = await pinata.upload.public.file(new File([content], 'large.bin')).cidVersion('v0')
  assert.equal(old.cid, await cidOfFile(content, 'unixfs-v0-2015'))
})

test('a large file goes to a signed URL without a key', async () => {
  const content = noise(94_371_840 + 7, 702)
  const says = { expires: 60, name: 'signed.bin', keyvalues: { by: 'signature' } }
  const url = await pinata.upload.public.createSignedURL({ ...says, maxFileSize: content.length })
  const made = await sdk(undefined).upload.public.file(new File([content], 'other.bin')).url(url)
  assert.equal(made.cid, await cidOfFile(content, kuboV1))
  const [kept] = (await pinata.files.public.list().cid(made.cid)).files
  assert.deepEqual([kept.name, kept.size, kept.keyvalues], ['signed.bin', content.length, { by: 'signature' }])
  const small = await pinata.upload.public.createSignedURL({ ...says, maxFileSize: content.length - 1 })
  const sent = async () => sdk(undefined).upload.public.file(new File([content], 'other.bin')).url(small)
  await assert.rejects(sent, /Upload URL not provided/)
})

test('lists are filtered and go on', async () => {
  for (let at = 0; at < 5; at++) {
    await pinata.upload.public.file(text(`listed ${at}`, `listed-${at}.txt`)).keyvalues({ list: 'yes', even: `${at % 2 === 0}` })
  }
  const listed = async (query) => (await query).files.map((file) => file.name)
  const all = () => pinata.files.public.list().keyvalues({ list: 'yes' })
  assert.deepEqual(await listed(all()), [4, 3, 2, 1, 0].map((at) => `listed-${at}.txt`))
  assert.deepEqual(await listed(all().order('ASC').limit(2)), ['listed-0.txt', 'listed-1.txt'])
  assert.deepEqual(await listed(pinata.files.public.list().keyvalues({ list: 'yes', even: 'false' })), ['listed-3.txt', 'listed-1.txt'])
  assert.deepEqual(await listed(pinata.files.public.list().name('listed-2.txt')), ['listed-2.txt'])
  assert.deepEqual(await listed(all().cid(await cidOfFile(Buffer.from('listed 3')))), ['listed-3.txt'])
  const paged = []
  for await (const file of all().limit(2)) paged.push(file.name)
  assert.equal(paged.length, 5)
  assert.deepEqual((await all().mimeType('image/png')).files, [])
})

test('a file is renamed, relabelled and deleted', async () => {
  const made = await pinata.upload.public.file(text('to be changed', 'before.txt')).keyvalues({ keep: '1', change: '1' })
  const changed = await pinata.files.public.update({ id: made.id, name: 'after.txt', keyvalues: { change: '2', more: '3' } })
  assert.equal(changed.name, 'after.txt')
  assert.deepEqual((await pinata.files.public.get(made.id)).keyvalues, { keep: '1', change: '2', more: '3' })
  const [gone] = await pinata.files.public.delete([made.id])
  assert.deepEqual(gone, { id: made.id, status: 'OK' })
  await assert.rejects(pinata.files.public.get(made.id), { statusCode: 404 })
})

test('groups hold files', async () => {
  const group = await pinata.groups.public.create({ name: 'a group' })
  assert.equal(group.name, 'a group')
  const inside = await pinata.upload.public.file(text('in a group', 'in.txt')).group(group.id)
  assert.equal(inside.group_id, group.id)
  const outside = await pinata.upload.public.file(text('put in later', 'later.txt'))
  const members = async () => (await pinata.files.public.list().group(group.id)).files.map((file) => file.name).sort()
  assert.deepEqual(await pinata.groups.public.addFiles({ groupId: group.id, files: [outside.id] }), [{ id: outside.id, status: 'OK' }])
  assert.deepEqual(await members(), ['in.txt', 'later.txt'])
  assert.deepEqual(await pinata.groups.public.removeFiles({ groupId: group.id, files: [inside.id] }), [{ id: inside.id, status: 'OK' }])
  assert.deepEqual(await members(), ['later.txt'])
  assert.equal((await pinata.groups.public.update({ groupId: group.id, name: 'renamed' })).name, 'renamed')
  assert.equal((await pinata.groups.public.get({ groupId: group.id })).name, 'renamed')
  assert.ok((await pinata.groups.public.list()).groups.some((found) => found.id === group.id))
  assert.equal(await pinata.groups.public.delete({ groupId: group.id }), 'OK')
  await assert.rejects(pinata.groups.public.get({ groupId: group.id }), { statusCode: 404 })
})

test('somebody without a key uploads to a signed URL', async () => {
  const url = await pinata.upload.public.createSignedURL({
    expires: 60, name: 'signed.txt', keyvalues: { by: 'signature' }, maxFileSize: 100, mimeTypes: ['text/*']
  })
  const stranger = sdk(undefined)
  const made = await stranger.upload.public.file(text('by signature', 'other.txt')).url(url)
  assert.equal(made.cid, await cidOfFile(Buffer.from('by signature')))
  const kept = await pinata.files.public.get(made.id)
  assert.deepEqual([kept.name, kept.keyvalues], ['signed.txt', { by: 'signature' }])
})

test('a signed URL allows what it says and no more', async () => {
  const stranger = sdk(undefined)
  // What the SDK gives is no promise until it is awaited.
  const send = async (url, content = 'small', type = 'text/plain') => stranger.upload.public.file(new File([content], 'x', { type })).url(url)
  const small = await pinata.upload.public.createSignedURL({ expires: 60, maxFileSize: 10 })
  await assert.rejects(send(small, 'more than ten bytes'), /4\d\d|HTTP error/)
  const images = await pinata.upload.public.createSignedURL({ expires: 60, mimeTypes: ['image/*'] })
  await assert.rejects(send(images))
  const old = { expires: 1, date: Math.floor(Date.now() / 1000) - 3600 }
  await assert.rejects(async () => pinata.upload.public.createSignedURL(old), /bad_expires/)
  const changed = new URL(await pinata.upload.public.createSignedURL({ expires: 60 }))
  for (const [name, value] of changed.searchParams) {
    if (/signature/i.test(name)) changed.searchParams.set(name, value.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')))
  }
  await assert.rejects(send(changed.toString()), { name: 'AuthenticationError' })
})

test('a CID is pinned', async () => {
  const { cid } = await upload(await newKey('who stored it for pinata'), noise(2000, 701))
  const job = await pinata.upload.public.cid(cid).name('by cid').keyvalues({ from: 'cid' })
  assert.equal(job.cid, cid)
  let found = []
  for (let left = 100; left > 0 && found.length === 0; left--) {
    found = (await pinata.files.public.list().cid(cid)).files
    if (found.length === 0) await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.deepEqual(found.map((file) => [file.cid, file.name]), [[cid, 'by cid']])
  assert.ok(Array.isArray((await pinata.files.public.queue()).jobs))
})
