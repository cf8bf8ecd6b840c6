// SPDX-License-Identifier: BSD-2-Clause
// System calls about the machine, memory of the caller, random arguments, and the start of the
// manager.
#include <stdlib.h>
#include "kernel.h"
#include "kernel/lib/printf.h"

static void test_null(void **state)
{
    (void)state;
    assert_int_equal(CALL(0, null, 0), OK);
    for (unsigned i = 0; i < SYSCALL_COUNT; i++)
        assert_non_null(syscall_table[i]);
}

static void test_log(void **state)
{
    (void)state;
    char *page = user_page(0);
    char *read = page + 2048;
    memcpy(page, "hello from ring 3\n", 18);
    assert_int_equal(CALL(0, log_write, USER_PAGE, 18), 16); // what the port's FIFO has room for
    assert_int_equal(CALL(0, log_write, USER_PAGE + 16, 2), 0); // which it sends now
    fake_advance(2000);
    assert_int_equal(CALL(0, log_write, USER_PAGE + 16, 2), 2);
    assert_non_null(strstr(fake.log, "hello from ring 3\n"));
    log_detach(true);
    assert_int_equal(CALL(0, log_write, USER_PAGE, 4096), 256); // the rest with the next call
    log_detach(false);
    assert_int_equal(CALL(0, log_write, USER_PAGE + 4000, 200), ERR_RANGE); // runs out of the page
    assert_int_equal(CALL(0, log_write, 0, 10), ERR_RANGE);
    assert_int_equal(CALL(0, log_write, ~0ull - 5, 10), ERR_RANGE);
    assert_int_equal(CALL(0, log_write, 0xffff800000000000, 10), ERR_RANGE);
    assert_int_equal(CALL(0, system_log, BOOT_HANDLE_SYSTEM, 0x500000, 10), ERR_RANGE);
    assert_int_equal(CALL(0, system_log, BOOT_HANDLE_SYSTEM, USER_PAGE + 2048, 18), 18);
    assert_memory_equal(read, "hello from ring 3\n", 18);
    assert_int_equal(CALL(0, system_log, BOOT_HANDLE_SYSTEM, USER_PAGE + 2048, 1000), 256);
    assert_int_equal(CALL(0, system_log, BOOT_HANDLE_SYSTEM, USER_PAGE + 2048, 1000), 0);
}

static void test_log_ring(void **state)
{
    (void)state;
    char text[64];
    size_t got, total = 0;
    for (unsigned i = 0; i < 5000; i++)
        log_print("line %u 0x%lx %s|!\n", i, i * 16ul, "abc");
    while ((got = log_read(text, sizeof(text))))
        total += got;
    assert_int_equal(total, 32768); // the newest
}

static void test_copies_respect_rights(void **state)
{
    (void)state;
    int64_t h = CALL(0, mem_create, 2 * PAGE_SIZE, PAGE_SIZE, 0);
    CALL(0, mem_map, HANDLE_SELF, h, 0, PAGE_SIZE, USER_PAGE, PROT_READ);
    CALL(0, mem_map, HANDLE_SELF, h, PAGE_SIZE, PAGE_SIZE, USER_PAGE + PAGE_SIZE,
         PROT_READ | PROT_WRITE);
    assert_int_equal(CALL(0, system_info, BOOT_HANDLE_SYSTEM, USER_PAGE), ERR_RANGE);
    assert_int_equal(CALL(0, system_info, BOOT_HANDLE_SYSTEM, USER_PAGE + PAGE_SIZE), OK);
    struct system_info *info =
        fake_ptr(HPA(object_to(fake_object(fake_manager, h), memory)->base.v + PAGE_SIZE));
    assert_int_equal(info->cores, 1);
    assert_int_equal(info->frames_free, frames_count_free());
    assert_int_equal(info->objects, object_count());
    uint8_t buffer[64];
    assert_false(copy_to_user(fake_manager, USER_PAGE + PAGE_SIZE - 32, buffer, 64));
    assert_true(copy_from_user(fake_manager, buffer, USER_PAGE + PAGE_SIZE - 32, 64));
    assert_false(copy_from_user(fake_manager, buffer, USER_END - 32, 64));
}

static void test_process_status(void **state)
{
    (void)state;
    struct process_status *s = user_page(0);
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    assert_int_equal(CALL(0, process_status, p.handle, USER_PAGE), OK);
    assert_int_equal(s->end, PROCESS_ALIVE);
    assert_int_equal(s->threads, 1);
    assert_int_equal(s->quota, 1 * MB);
    assert_int_equal(s->used, p.process->used);
    assert_int_equal(s->id, p.process->object.id);
    CALL(1, thread_exit, (uint64_t)-3);
    assert_int_equal(CALL(0, process_status, p.handle, USER_PAGE), OK);
    assert_int_equal(s->end, PROCESS_EXITED);
    assert_int_equal(s->status, -3);
    assert_int_equal(s->threads, 0);
}

static void test_end_event(void **state)
{
    (void)state;
    int64_t e = CALL(0, event_create, 0);
    int64_t p = CALL(0, process_create, 1 * MB, e, 0x40);
    fake_grant(object_to(fake_object(fake_manager, p), process));
    CALL(0, thread_create, p, fake_sc(1, 0, 0), 0x400000, 0, 0);
    fake_interrupts(1);
    assert_true(CALL(0, event_wait, e, 0x40, 0) == FAKE_BLOCKED);
    CALL(1, thread_exit, 0);
    fake_interrupts(0);
    assert_int_equal(fake_thread->arch.value, 0x40);
    assert_int_equal(CALL(0, process_create, 1 * MB, 400, 0x40), ERR_HANDLE);
}

static void test_ports_and_log(void **state)
{
    (void)state;
    enum status status;
    struct object *o = object_alloc(OBJ_IOPORTS, fake_manager, &status);
    int64_t h = handle_set(fake_manager, 0, o, RIGHT_USE);
    struct fake_process p = fake_spawn(1, 1 * MB, 0);
    // The manager's own may change, and are not the log's.
    assert_int_equal(CALL(0, ioports_grant, HANDLE_SELF, h, 0xcf8, 8), OK);
    assert_int_equal(fake_manager->port_first, 0xcf8);
    assert_int_equal(fake_manager->port_count, 8);
    assert_int_equal(CALL(0, ioports_grant, HANDLE_SELF, h, 0xcf8, 0), OK);
    assert_int_equal(fake_manager->port_count, 0);
    assert_int_equal(fake.log_port, 0);
    size_t before = fake.log_bytes;
    log_print("still here\n");
    assert_true(fake.log_bytes > before);
    static const uint64_t bad[][2] = {
        { 0xfffa, 7 }, { 0x10000, 1 }, { 0x100, 0x10000 }, { 0x100, 0xff01 },
        { UINT64_MAX, 2 }, { 0x100, UINT64_MAX }, { 0x10003f8, 8 },
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(CALL(0, ioports_grant, p.handle, h, bad[i][0], bad[i][1]), ERR_RANGE);
    assert_int_equal(p.process->port_count, 0);
    assert_int_equal(CALL(0, ioports_grant, p.handle, h, 0xfff8, 8), OK);
    assert_int_equal(CALL(0, ioports_grant, p.handle, h, 0x3f8, 8), ERR_STATE);
    assert_int_equal(p.process->port_first, 0xfff8);
    assert_int_equal(fake.log_port, 0xfff8); // for the kernel's last words
    before = fake.log_bytes;
    log_print("to the ring only\n");
    assert_int_equal(fake.log_bytes, before);
    CALL(1, thread_exit, 0); // its owner is gone: the kernel has the port again
    log_print("here again\n");
    assert_true(fake.log_bytes > before);
}

static void test_off(void **state)
{
    (void)state;
    assert_int_equal(CALL(0, system_off, BOOT_HANDLE_SYSTEM, 4), ERR_RANGE);
    int64_t weak = CALL(0, handle_copy, HANDLE_SELF, BOOT_HANDLE_SYSTEM, RIGHT_READ, 0);
    assert_int_equal(CALL(0, system_off, weak, 1), ERR_RIGHTS);
    assert_int_equal(CALL(0, system_audit, weak), ERR_RIGHTS);
    CALL(0, system_off, BOOT_HANDLE_SYSTEM, 1);
    assert_int_equal(fake.state[0], FAKE_OFF);
    assert_int_equal(fake.off_status, 1);
}

static void test_reset(void **state)
{
    (void)state;
    CALL(0, system_off, BOOT_HANDLE_SYSTEM, SYSTEM_RESET);
    assert_int_equal(fake.state[0], FAKE_OFF);
    assert_int_equal(fake.off_status, SYSTEM_RESET);
}

static uint64_t random_argument(void)
{
    static const uint64_t edges[] = { 0, 1, PAGE_SIZE, PAGE_2M, USER_PAGE, USER_END, ~0ull,
                                      1ull << 63, 1ull << 32, 0xffff800000000000, HANDLE_MAX };
    if (rand() % 2)
        return (uint64_t)rand() % 24; // handles, flags
    if (rand() % 4)
        return edges[(unsigned)rand() % ARRAY_SIZE(edges)];
    return (uint64_t)rand() << 33 ^ (uint64_t)rand() << 12;
}

// Whatever a process says: no sanitizer report, no failed assertion, and its end gives all back.
static void test_random_calls(void **state)
{
    (void)state;
    uint64_t used = fake_manager->used;
    for (unsigned seed = 1; seed <= 12; seed++) {
        srand(seed);
        struct fake_process p = fake_spawn(1, 4 * MB, 0);
        for (unsigned i = 0; i < 1500; i++) {
            fake_settle();
            if (fake.state[1] != FAKE_USER) {
                if (!cpus[1]->current)
                    fake_advance(1000 * MS);
                if (fake.state[1] == FAKE_GUEST)
                    fake_exit(1, fake_return_fast);
                if (fake.state[1] != FAKE_USER)
                    break; // waits for ever, or has ended
            }
            uint64_t number = (uint64_t)rand() % SYSCALL_COUNT;
            if (number == SYS_thread_exit || (number == SYS_event_wait && rand() % 8))
                continue;
            fake_call(1, number, random_argument(), random_argument(), random_argument(),
                      random_argument(), random_argument(), random_argument());
        }
        assert_int_equal(FINISH(0, system_audit, BOOT_HANDLE_SYSTEM), OK);
        assert_int_equal(FINISH(0, object_destroy, p.handle), OK);
    assert_int_equal(FINISH(0, object_destroy, p.sc), OK);
        assert_int_equal(fake_manager->used, used);
    }
}

// A module that holds the smallest manager: three pages, the last of which goes on with zeros.
struct image {
    struct boot_image head;
    char rest[2 * PAGE_SIZE - sizeof(struct boot_image)];
    char data[64];
};

static struct boot_facts make_boot(struct image **image)
{
    struct boot_facts f = { .info = { .entry_tsc = 5, .no_rtc = 1, .modules = 2 },
                            .com_gsi = { 4, 3 } };
    struct hpa frame;
    fake_start(1, 64);
    assert_true(frames_alloc(4, PAGE_SIZE, FRAME_RESERVED, &frame));
    *image = fake_ptr(frame);
    memset(*image, 0, sizeof(**image));
    (*image)->head = (struct boot_image){
        .magic = BOOT_MAGIC, .entry = 0x400028, .end = { 0x401000, 0x402000, 0x405000 },
    };
    memcpy((*image)->data, "initialised", 12);
    strcpy(f.info.module[0].name, "bin:manager");
    f.module[0] = frame;
    f.info.module[0].bytes = sizeof(struct image);
    strcpy(f.info.module[1].name, "config:demo.conf");
    f.module[1] = HPA(frame.v + 3 * PAGE_SIZE);
    return f;
}

static void test_manager_start(void **state)
{
    struct image *image;
    (void)state;
    struct boot_facts f = make_boot(&image);
    fake_boot(&f);
    assert_int_equal(fake.state[0], FAKE_USER);
    struct thread *t = cpus[0]->current;
    assert_int_equal(t->arch.entry, 0x400028);
    assert_int_equal(t->arch.sp, BOOT_STACK_TOP);
    assert_int_equal(t->arch.argument, BOOT_INFO_VA);
    struct boot_info info;
    assert_true(copy_from_user(t->process, &info, BOOT_INFO_VA, sizeof(info)));
    assert_int_equal(info.magic, BOOT_MAGIC);
    assert_int_equal(info.entry_tsc, 5);
    assert_int_equal(info.no_rtc, 1);
    assert_int_equal(info.modules, 2);
    assert_string_equal(info.module[0].name, "bin:manager");
    assert_int_equal(info.module[0].handle, BOOT_HANDLE_MODULE);
    assert_int_equal(info.module[0].bytes, sizeof(struct image));
    assert_int_equal(info.module[1].handle, 0); // an empty file
    char text[12], zero[12] = { 0 };
    uint64_t data = 0x400000 + offsetof(struct image, data);
    assert_true(copy_from_user(t->process, text, data, 12));
    assert_string_equal(text, "initialised");
    assert_true(copy_from_user(t->process, text, data + 9000, 12));
    assert_memory_equal(text, zero, 12);
    assert_false(copy_to_user(t->process, 0x400000, text, 4));  // W^X
    assert_false(copy_to_user(t->process, 0x401000, text, 4));
    static const uint8_t prot[] = { PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_WRITE,
                                    PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE };
    for (unsigned i = 0; i < 5; i++) {
        struct hpa at;
        uint64_t left;
        uint8_t have;
        assert_true(arch_walk(&t->process->space, 0x400000 + i * PAGE_SIZE, &at, &have, &left));
        assert_int_equal(have, prot[i]);
    }
    assert_true(copy_to_user(t->process, data, text, 4));
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, BOOT_HANDLE_MODULE, 0, PAGE_SIZE, USER_PAGE,
                          PROT_READ), OK);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, BOOT_HANDLE_MODULE, 0, PAGE_SIZE, USER_PAGE + MB,
                          PROT_READ | PROT_WRITE), ERR_RIGHTS);
    assert_int_equal(CALL(0, object_destroy, BOOT_HANDLE_MODULE), ERR_RIGHTS);
    assert_int_equal(CALL(0, irq_ack, BOOT_HANDLE_COM1_IRQ), ERR_STATE);
    assert_int_equal(FINISH(0, system_audit, BOOT_HANDLE_SYSTEM), OK);
}

// The screen is memory for the manager to give away: uncached, no guest's, and outside of the frame
// table. Who has it shows the log.
static void test_screen(void **state)
{
    struct image *image;
    (void)state;
    struct boot_facts f = make_boot(&image);
    f.info.screen = (struct boot_screen){ .hpa = 0xfd000000, .pitch = 5120, .width = 1280,
                                          .height = 801 };
    const uint64_t bytes = 0x3ea000; // whole pages
    fake_boot(&f);
    struct process *p = cpus[0]->current->process;
    struct object *o = fake_object(p, BOOT_HANDLE_SCREEN);
    assert_int_equal(object_to(o, memory)->base.v, 0xfd000000);
    assert_int_equal(object_to(o, memory)->bytes, bytes);
    int64_t vm = CALL(0, vm_create, 0);
    assert_int_equal(CALL(0, vm_map, vm, BOOT_HANDLE_SCREEN, 0, PAGE_SIZE, 0, PROT_READ),
                     ERR_RIGHTS);
    assert_int_equal(CALL(0, object_destroy, BOOT_HANDLE_SCREEN), ERR_RIGHTS);
    assert_false(p->has_log);
    assert_int_equal(CALL(0, mem_map, HANDLE_SELF, BOOT_HANDLE_SCREEN, 0, bytes, USER_PAGE,
                          PROT_READ | PROT_WRITE | PROT_EXEC), ERR_RIGHTS);
    assert_int_equal(FINISH(0, mem_map, HANDLE_SELF, BOOT_HANDLE_SCREEN, 0, bytes, USER_PAGE,
                            PROT_READ | PROT_WRITE), OK);
    struct hpa at;
    uint64_t left;
    uint8_t have;
    assert_true(arch_walk(&p->space, USER_PAGE + bytes - 1, &at, &have, &left));
    assert_int_equal(at.v, 0xfd000000 + bytes - 1);
    assert_int_equal(have, PROT_READ | PROT_WRITE);
    struct mapping *m = list_entry(object_to(o, memory)->mappings.next, struct mapping, in_memory);
    assert_int_equal(m->prot, PROT_READ | PROT_WRITE | PROT_DEVICE);
    size_t before = fake.log_bytes;
    log_print("to the ring only\n");
    assert_int_equal(fake.log_bytes, before);
    assert_int_equal(FINISH(0, system_audit, BOOT_HANDLE_SYSTEM), OK);
    // But for that, what nobody owns is nothing to have.
    object_to(o, memory)->flags &= (uint8_t)~MEM_DEVICE;
    log_detach(false);
    assert_int_equal(FINISH(0, system_audit, BOOT_HANDLE_SYSTEM), ERR_STATE);
    assert_non_null(strstr(fake.log, "not a memory object's"));
}

static void expect_panic(struct boot_facts *f, const char *why)
{
    fake_boot(f);
    assert_int_equal(fake.state[0], FAKE_PANIC);
    assert_non_null(strstr(fake.log, why));
}

static void test_manager_bad(void **state)
{
    struct image *image;
    (void)state;
    struct boot_facts f = make_boot(&image);
    strcpy(f.info.module[0].name, "bin:other");
    expect_panic(&f, "no boot module is named bin:manager");
    f = make_boot(&image);
    f.info.module[0].bytes = sizeof(image->head) - 1;
    expect_panic(&f, "its file is too short");
    f = make_boot(&image);
    image->head.magic++;
    expect_panic(&f, "its file is no image");
    f = make_boot(&image);
    image->head.entry = 0x401000;
    expect_panic(&f, "bad entry point");
    static const uint64_t ends[] = { 0x401000, 0x401800, 0xffffffff80000000, 0x7ffffffff000 };
    for (unsigned i = 0; i < 4; i++) {
        f = make_boot(&image);
        image->head.end[1] = ends[i];
        expect_panic(&f, i < 3 ? "a part has no good end" : "no memory for a part");
    }
    f = make_boot(&image);
    image->head.end[1] = BOOT_INFO_VA;
    expect_panic(&f, "a part has no good end");
}

static const char *text_of(char *to, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static const char *text_of(char *to, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    size_t n = format_text(to, size, format, args);
    va_end(args);
    assert_int_equal(n, strlen(to));
    return to;
}

static void test_printf(void **state)
{
    char b[64];
    (void)state;
    assert_string_equal(text_of(b, 64, "%s %u %x|", "abc", 9u, 0xabu), "abc 9 ab|");
    assert_string_equal(text_of(b, 64, "%lx %lu %u", ~0ul, ~0ul, 0u),
                        "ffffffffffffffff 18446744073709551615 0");
    assert_string_equal(text_of(b, 64, "%u%d%s", 1u, 2, "abc"), "1%d%s");
    assert_string_equal(text_of(b, 8, "0123456789"), "0123456");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON1(test_null), ON1(test_log), ON1(test_log_ring), ON1(test_copies_respect_rights),
        ON2(test_process_status), ON2(test_end_event), ON2(test_ports_and_log),
        ON1(test_off), ON1(test_reset), ON2(test_random_calls), ON1(test_manager_start),
        ON1(test_screen),
        ON1(test_manager_bad), ON1(test_printf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
