// SPDX-License-Identifier: BSD-2-Clause
// The boot core's last steps: the manager is made from its module and started. Nothing else runs
// yet, so locks are taken for the assertions' sake only; every failure is the end, with a message.
#include "kernel/core/syscall.h"
#include "kernel/lib/string.h"

#define MANAGER_MODULE "bin:manager"

static struct process *manager;

static void must(bool good, const char *what)
{
    if (!good)
        panic("cannot start the manager: %s", what);
}

static uint32_t find_module(const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->modules; i++)
        if (memcmp(info->module[i].name, MANAGER_MODULE, sizeof(MANAGER_MODULE)) == 0)
            return i;
    panic("no boot module is named %s: is grub.cfg's list of modules complete?", MANAGER_MODULE);
}

// A memory object with zeros, mapped into the manager; all in whole pages.
static struct memory *place(uint64_t va, uint64_t bytes, uint8_t prot)
{
    enum status status;
    struct memory *m = memory_make(manager, bytes, PAGE_SIZE, 0, &status);
    must(m, "no memory for a part of it");
    while (!memory_zero_piece(m))
        spin_lock(&kernel_lock);
    struct mapping *map = space_map(&manager->space, m, 0, bytes, va, prot, &status);
    must(map, "a part overlaps another");
    while (map->mapped < bytes)
        must(mapping_map(map) == OK, "no memory for page tables");
    return m;
}

// The kernel has a mapping of neither the file nor the memory.
static void copy(struct hpa to, struct hpa from, uint64_t bytes)
{
    static char buffer[PAGE_SIZE];
    for (uint64_t at = 0; at < bytes; at += sizeof(buffer)) {
        uint64_t part = min_u64(bytes - at, sizeof(buffer));
        arch_read(buffer, HPA(from.v + at), part);
        arch_write(HPA(to.v + at), buffer, part);
    }
}

static uint64_t load(struct hpa file, uint64_t bytes)
{
    static const uint8_t prot[] = { PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_WRITE };
    struct boot_image image;
    uint64_t at = BOOT_IMAGE_VA;
    must(bytes >= sizeof(image), "its file is too short");
    arch_read(&image, file, sizeof(image));
    must(image.magic == BOOT_MAGIC, "its file is no image");
    must(image.entry >= at && image.entry < image.end[0], "bad entry point");
    for (unsigned i = 0; i < ARRAY_SIZE(prot); at = image.end[i++]) {
        uint64_t end = image.end[i], done = at - BOOT_IMAGE_VA;
        must(end > at && end <= USER_END && is_aligned(end, PAGE_SIZE), "a part has no good end");
        struct hpa base = place(at, end - at, prot[i])->base;
        copy(base, HPA(file.v + done), min_u64(end - at, bytes - min_u64(bytes, done)));
    }
    return image.entry;
}

static void give(uint64_t slot, struct object *o, uint8_t rights, enum status status)
{
    must(o, status == ERR_MEMORY ? "no memory" : "no quota");
    must(handle_set(manager, slot, o, rights) == (int)slot, "its handle table is full");
}

static void give_module(struct boot_facts *facts, unsigned index)
{
    struct boot_module *b = &facts->info.module[index];
    enum status status;
    if (!b->bytes)
        return; // an empty file: there is nothing to have a handle of
    struct memory *m = memory_wrap(manager, facts->module[index], align_up(b->bytes, PAGE_SIZE),
                                   MEM_MODULE, &status);
    b->handle = BOOT_HANDLE_MODULE + index;
    give(b->handle, m ? &m->object : NULL, RIGHT_READ | RIGHT_USE | RIGHT_COPY, status);
}

static void give_devices(const struct boot_facts *facts)
{
    enum status status;
    struct object *o = object_alloc(OBJ_SYSTEM, manager, &status);
    give(BOOT_HANDLE_SYSTEM, o, RIGHT_READ | RIGHT_USE | RIGHT_CONTROL | RIGHT_COPY, status);
    o = object_alloc(OBJ_IOPORTS, manager, &status);
    give(BOOT_HANDLE_PORTS, o, RIGHT_USE, status);
    for (unsigned i = 0; i < ARRAY_SIZE(facts->com_gsi); i++) {
        struct irq *irq = irq_make(manager, facts->com_gsi[i], &status);
        give(BOOT_HANDLE_COM1_IRQ + i, irq ? &irq->object : NULL, RIGHT_USE | RIGHT_COPY, status);
    }
    const struct boot_screen *s = &facts->info.screen;
    if (!s->width)
        return;
    struct memory *m = memory_wrap(manager, HPA(s->hpa),
                                   align_up((uint64_t)s->pitch * s->height, PAGE_SIZE),
                                   MEM_MODULE | MEM_DEVICE, &status);
    give(BOOT_HANDLE_SCREEN, m ? &m->object : NULL, RIGHT_READ | RIGHT_WRITE | RIGHT_COPY, status);
}

static void give_info(struct boot_facts *facts)
{
    struct boot_info *info = &facts->info;
    info->magic = BOOT_MAGIC;
    info->tsc_hz = arch_tsc_hz();
    info->cores = cpu_count;
    for (uint32_t i = 0; i < info->modules; i++)
        give_module(facts, i);
    arch_write(place(BOOT_INFO_VA, BOOT_INFO_SIZE, PROT_READ)->base, info, sizeof(*info));
}

void core_start(struct boot_facts *facts)
{
    enum status status;
    objects_init();
    spin_lock(&kernel_lock);
    manager = process_make(NULL, frames_count_free() * PAGE_SIZE, NULL, &status);
    must(manager, "no memory");
    give_devices(facts);
    give_info(facts);
    place(BOOT_STACK_TOP - BOOT_STACK_SIZE, BOOT_STACK_SIZE, PROT_READ | PROT_WRITE);
    uint32_t module = find_module(&facts->info);
    uint64_t entry = load(facts->module[module], facts->info.module[module].bytes);
    // Best effort: it gives itself a share when it has read the config.
    struct sc *sc = sc_make(manager, this_cpu()->id, 0, 0, &status);
    if (sc)
        sc->soft = 1; // the system's
    give(BOOT_HANDLE_SC, sc ? &sc->object : NULL, RIGHT_ALL, status);
    struct thread *t = thread_make(manager, sc, &status);
    must(t, "no memory");
    arch_thread_init(t, entry, BOOT_STACK_TOP, BOOT_INFO_VA);
    spin_unlock(&kernel_lock);
    thread_wake(t);
    sched_run();
}
