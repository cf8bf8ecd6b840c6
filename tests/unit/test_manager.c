// SPDX-License-Identifier: BSD-2-Clause
// The manager from boot information to power-off, on the fake kernel. The test is the console and
// the VMMs: it reads line 0, types at the monitor, and lets VMs end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libc/time.h"
#include "tests/unit/elf_file.h"
#include "tests/unit/fake/kernel.h"
#include "vmm/manager/manager.h"

static struct manager manager;
static struct boot_info boot;
static struct line console_side;
static bool attached;
static char said[1 << 17];
static uint32_t said_len;
static int step;                // of the script
static bool (*script)(int step); // false: the script is over
static uint8_t image[4096];

static void add_module(const char *name, const void *bytes, uint64_t len)
{
    struct boot_module *module = &boot.module[boot.modules];
    snprintf(module->name, sizeof(module->name), "%s", name);
    module->bytes = len;
    module->handle = BOOT_HANDLE_MODULE + boot.modules++;
    fake_module(module->handle, bytes, len);
}

static void ignore(void *opaque)
{
    (void)opaque;
}

// Plays the console: takes what is on line 0, and answers a flush.
static void read_line0(void)
{
    if (manager.line_memory == 0) {
        return;
    }
    if (!attached) {
        struct fake_object *memory = fake_handle(manager.line_memory);
        line_attach_console(&console_side, memory->view, ignore, NULL);
        attached = true;
    }
    said_len += line_read(&console_side, said + said_len, sizeof(said) - 1 - said_len);
    said[said_len] = '\0';
}

static bool idle(struct fake_kernel *kernel)
{
    (void)kernel;
    read_line0();
    struct fake_object *console = fake_handle(manager.console_event);
    fake_signal(fake_handle(manager.event), MANAGER_BIT_LINE);
    if (console->bits & CONSOLE_BIT_FLUSH) {
        console->bits &= ~CONSOLE_BIT_FLUSH;
        fake_signal(fake_handle(manager.event), CONSOLE_BIT_FLUSHED);
        return true;
    }
    return script != NULL && script(step++);
}

static int setup(void **state)
{
    (void)state;
    static uint8_t program[ELF_FILE_BYTES];
    fake_reset();
    memset(&manager, 0, sizeof(manager));
    memset(&boot, 0, sizeof(boot));
    attached = false;
    said_len = 0;
    said[0] = '\0';
    step = 0;
    script = NULL;
    fake.idle = idle;
    fake.kernel_log = "2 cores\nready\n";
    time_init(1000000000);
    fake_object_at(BOOT_HANDLE_SYSTEM, FAKE_SYSTEM, RIGHT_ALL);
    fake_object_at(BOOT_HANDLE_COM1_PORTS, FAKE_PORTS, RIGHT_ALL);
    fake_object_at(BOOT_HANDLE_COM1_IRQ, FAKE_IRQ, RIGHT_ALL);
    boot.magic = BOOT_MAGIC;
    boot.tsc_hz = 1000000000;
    boot.cores = 2;
    elf_file_make(program);
    add_module("bin:vmm", program, sizeof(program));
    add_module("bin:console", program, sizeof(program));
    // A multiboot 1 image: ELF with the header's magic, flags and checksum.
    memset(image, 0, sizeof(image));
    memcpy(image, "\177ELF\1\1\1", 7);
    const uint32_t header[] = {0x1badb002, 0, 0u - 0x1badb002};
    memcpy(image + 256, header, sizeof(header));
    return 0;
}

static uint32_t run(const char *config)
{
    add_module("image:hello", image, sizeof(image));
    add_module("config:test.conf", config, strlen(config));
    uint32_t status = manager_run(&manager, &boot);
    read_line0();
    return status;
}

static struct fake_object *process_of(uint32_t vm)
{
    return fake_handle(manager.vm[vm].spawned.process);
}

static struct fake_object *thread_of(const struct spawned *spawned)
{
    return fake_handle(spawned->thread);
}

static void end_vm(uint32_t vm, int32_t status)
{
    fake_process_end(process_of(vm), PROCESS_EXITED, status);
}

static void expect(const char *text)
{
    if (strstr(said, text) == NULL) {
        fail_msg("'%s' is not in:\n%s", text, said);
    }
}

static const char two_vms[] = "[vm one]\nimage = hello\nmemory = 8M\nshare = 25%\ncores = 1\n"
                              "cmdline = a b\nmodule = hello c  d\nmodule = ./hello\n"
                              "[vm two]\nimage = hello\nmemory = 16M\n";

static bool script_two_off(int at)
{
    if (at < 2) {
        end_vm((uint32_t)at, VMM_END_POWEROFF);
    }
    return at < 2;
}

static void test_two_vms(void **state)
{
    (void)state;
    script = script_two_off;
    assert_int_equal(run(two_vms), 0);
    assert_null(strstr(said, "kernel: 2 cores")); // the serial line has had it
    expect("VM 'one' started: core 1, 8 MB\r\n");
    expect("VM 'two' started: core 0, 16 MB\r\n");
    expect("isolation audit: 12345 frames, no frame reachable from two VMs\r\n");
    expect("VM 'one' powered off\r\n");
    expect("VM 'two' powered off\r\n");
    expect("all VMs are off: powering off\r\n");
    // Of the processes only the console is left, and no memory of the VMs'.
    assert_int_equal(fake_count(FAKE_PROCESS), 2);
    assert_int_equal(fake_count(FAKE_THREAD), 1);
}

static const struct start_block *block_of(struct fake_object *process)
{
    const struct fake_mapping *mapping = fake_mapped(process, START_VA);
    assert_non_null(mapping);
    assert_int_equal(mapping->prot, PROT_READ);
    return (const struct start_block *)fake.object[mapping->memory].view;
}

static void check_vmm_process(void)
{
    struct fake_object *process = process_of(0);
    struct fake_object *thread = thread_of(&manager.vm[0].spawned);
    const struct start_block *block = block_of(process);
    uint32_t rights;
    assert_true(thread->started);
    assert_int_equal(thread->core, 1);
    assert_int_equal(thread->priority, PRIO_BUDGET);
    assert_int_equal(thread->share, 250);
    assert_int_equal(thread->entry, 0x400200);
    assert_int_equal(thread->argument, START_VA);
    assert_int_equal(thread_of(&manager.vm[1].spawned)->priority, PRIO_BEST_EFFORT);
    assert_int_equal(block->magic, START_MAGIC);
    assert_int_equal(block->role, START_VMM);
    assert_string_equal(block->vmm.name, "one");
    assert_string_equal(block->vmm.cmdline, "a b");
    assert_string_equal(block->vmm.image_name, "hello");
    assert_int_equal(block->vmm.memory, 8 << 20);
    assert_int_equal(block->vmm.image_bytes, sizeof(image));
    assert_int_equal(block->vmm.initrd, 0);
    // Handles: a module can only be read, the own event used and waited for, the console's
    // signalled.
    assert_int_equal(fake_slot(process, block->vmm.image, &rights)->type, FAKE_MEMORY);
    assert_int_equal(rights, RIGHT_READ);
    assert_int_equal(block->vmm.modules, 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct start_module *module = &block->vmm.module[i];
        assert_int_equal(fake_slot(process, module->file, &rights)->type, FAKE_MEMORY);
        assert_int_equal(rights, RIGHT_READ);
        assert_int_equal(module->bytes, sizeof(image));
        assert_string_equal(block->vmm.module_text + module->name, "hello");
        assert_string_equal(block->vmm.module_text + module->cmdline, i == 0 ? "c  d" : "");
    }
    assert_ptr_equal(fake_slot(process, block->vmm.event, &rights),
                     fake_handle(manager.vm[0].event));
    assert_int_equal(rights, RIGHT_USE | RIGHT_WAIT);
    assert_ptr_equal(fake_slot(process, block->vmm.console.event, &rights),
                     fake_handle(manager.console_event));
    assert_int_equal(rights, RIGHT_USE);
    assert_int_equal(block->vmm.console.bits, 2);
    // The program: shared text, data of its own.
    const struct fake_mapping *text = fake_mapped(process, 0x400000);
    const struct fake_mapping *data = fake_mapped(process, 0x402010);
    assert_int_equal(text->prot, PROT_READ | PROT_EXEC);
    assert_memory_equal(fake.object[text->memory].view + 0x200, "code", 4);
    assert_memory_equal(fake.object[data->memory].view + 0x10, "data", 4);
    assert_int_equal(fake.object[data->memory].view[0x40], 0);
    assert_int_equal(text->memory, fake_mapped(process_of(1), 0x400000)->memory);
    assert_int_not_equal(data->memory, fake_mapped(process_of(1), 0x402010)->memory);
    assert_null(fake_mapped(process, START_STACK_TOP - START_STACK_SIZE - 1));
    assert_non_null(fake_mapped(process, START_STACK_TOP - 1));
}

static void check_console_process(void)
{
    struct fake_object *process = fake_handle(manager.console.process);
    const struct start_block *block = block_of(process);
    struct fake_object *irq = fake_handle(BOOT_HANDLE_COM1_IRQ);
    uint32_t rights;
    assert_int_equal(block->role, START_CONSOLE);
    assert_int_equal(block->console.lines, 3);
    assert_string_equal(block->console.line[0].name, "bulkhead");
    assert_string_equal(block->console.line[1].name, "one");
    assert_string_equal(block->console.line[2].name, "two");
    assert_ptr_equal(fake_slot(process, block->console.line[2].event, &rights),
                     fake_handle(manager.vm[1].event));
    assert_int_equal(block->console.line[2].bits, VMM_BIT_CONSOLE);
    assert_ptr_equal(fake_slot(process, block->console.line[2].memory, &rights),
                     fake_handle(manager.vm[1].line));
    assert_true(process->ports);
    assert_int_equal(irq->bits, CONSOLE_BIT_IRQ);
    assert_int_equal(thread_of(&manager.console)->priority, PRIO_SYSTEM);
}

static bool script_inspect(int at)
{
    if (at == 0) {
        check_vmm_process();
        check_console_process();
    }
    return script_two_off(at);
}

static void test_what_processes_get(void **state)
{
    (void)state;
    script = script_inspect;
    assert_int_equal(run(two_vms), 0);
}

static bool script_deaths(int at)
{
    struct fake_object *process = at < 2 ? process_of((uint32_t)at) : NULL;
    if (at == 0) {
        fake.kernel_log = "process 7: page fault\n";
        process->status.rip = 0x401234;
        process->status.address = 0xdead000;
        fake_process_end(process, PROCESS_FAULT, 14);
    } else if (at == 1) {
        end_vm(1, VMM_END_KILLED);
    }
    return at < 2;
}

static void test_killed(void **state)
{
    (void)state;
    script = script_deaths;
    assert_int_equal(run(two_vms), 1);
    expect("kernel: process 7: page fault\r\nVM 'one' killed");
    expect("VM 'one' killed: its VMM caused exception 14 at rip 0x401234, address 0xdead000");
    expect("VM 'two' killed: the reason is on its console\r\n");
    expect("powering off, status 1\r\n");
}

static bool script_one_off(int at)
{
    if (at == 0) {
        end_vm(0, VMM_END_POWEROFF);
    }
    return at < 1;
}

static void test_bad_vm_is_skipped(void **state)
{
    (void)state;
    script = script_one_off;
    assert_int_equal(run("[vm bad]\nimage = nowhere\nmemroy = 3\n[vm good]\nimage = hello\n"), 0);
    expect("test.conf:3:1: unknown key 'memroy' in [vm bad] (did you mean 'memory'?)\r\n");
    expect("test.conf:2:9: image 'nowhere' not found among the boot modules\r\n");
    expect("VM 'good' started");
    assert_int_equal(manager.vms, 1);
}

static void test_nothing_to_run(void **state)
{
    (void)state;
    assert_int_equal(run(""), 1);
    expect("no VM could be started\r\n");
    assert_int_equal(fake_count(FAKE_PROCESS), 2); // the console has it to say
}

static void test_no_config(void **state)
{
    (void)state;
    assert_int_equal(manager_run(&manager, &boot), 1);
    read_line0();
    expect("there is no config file among the boot modules");
}

static void test_no_console(void **state)
{
    (void)state;
    // Without a console what is said goes to the kernel's log.
    strcpy(boot.module[1].name, "bin:other");
    script = script_two_off;
    assert_int_equal(run(two_vms), 0);
    assert_non_null(strstr(fake.log, "bin:console cannot be loaded: there is no such boot module"));
}

static void test_broken_vmm(void **state)
{
    (void)state;
    fake_handle(boot.module[0].handle)->view[1] = 'x';
    assert_int_equal(run(two_vms), 1);
    expect("bin:vmm cannot be loaded: it is no 64-bit little-endian ELF file\r\n");
    expect("no VM could be started");
}

static void test_audit_fails(void **state)
{
    (void)state;
    fake.audit = ERR_STATE;
    script = script_two_off;
    assert_int_equal(run(two_vms), 0);
    expect("ISOLATION AUDIT FAILED");
    expect("VM 'two' powered off");
}

static void type(const char *keys)
{
    assert_int_equal(line_write(&console_side, keys, (uint32_t)strlen(keys)), strlen(keys));
}

static bool script_monitor(int at)
{
    static const char *const commands[] = {
        "help\r", "vm list\r", "stats\r", "audit\r", "memory\r", "log\r", "frobnicate\r",
        "vm   stop  one\r", "vm stop nobody\r", "vm kill\r", "helpp\b\r", "log now\r",
        "vm kill two\r", "vm kill two\r",
    };
    if (at == 0) {
        fake.stats_count = 1;
        fake.stats[0].process = process_of(0)->status.id;
        fake.stats[0].core = 1;
        fake.stats[0].exits[EXIT_CPUID] = 7;
    }
    if ((size_t)at < sizeof(commands) / sizeof(commands[0])) {
        type(commands[at]);
        return true;
    }
    end_vm(0, VMM_END_POWEROFF);
    return true;
}

static void test_monitor(void **state)
{
    (void)state;
    script = script_monitor;
    assert_int_equal(run(two_vms), 1); // one was killed
    expect("bulkhead> help\r\n");
    expect("vm stop NAME          asks the VM");
    expect("one             running     1   25%      8 MB");
    expect("one: core 1, ran 0 ms, halted 0 ms, 7 exits, 0 injected\r\n");
    expect("  cpuid                         7\r\n");
    expect("two: no vCPU (running)\r\n");
    expect("bulkhead> log\r\nkernel: 2 cores\r\nkernel: ready\r\n");
    expect("core 0: idle for");
    expect("unknown command 'frobnicate': help lists them\r\n");
    expect("VM 'one' is asked to power off\r\n");
    assert_int_equal(fake_handle(manager.vm[0].event)->bits & VMM_BIT_STOP, VMM_BIT_STOP);
    expect("no VM is called 'nobody': see vm list\r\n");
    expect("the name of a VM is missing: see vm list\r\n");
    expect("bulkhead> helpp\b \b\r\n");
    expect("'log' takes no argument\r\n");
    expect("VM 'two' killed by the monitor\r\n");
    expect("VM 'two' does not run\r\n");
    // A message that comes while the prompt stands there takes its place, and brings it back.
    expect("\r\033[KVM 'one' powered off\r\nbulkhead> ");
}

// VM one (25%, core 1) goes to core 0 and is brought back by the balancer; two has a list.
static bool script_move(int at)
{
    static const char *const commands[] = {
        "vm move one 0\r", "vm list\r", "vm move one 0\r", "vm move one 2\r", "vm move one\r",
        "vm move one x\r", "vm move two 0\r", "vm balance\r", "vm balance\r",
    };
    const int count = sizeof(commands) / sizeof(commands[0]);
    if (at < count) {
        if (at == 1) {
            assert_int_equal(fake_handle(manager.vm[0].spawned.thread)->core, 0);
            assert_int_equal(fake_handle(manager.vm[0].spawned.thread)->share, 250);
            assert_int_equal(fake_count(FAKE_BUDGET), 1); // the old one is gone
        }
        type(commands[at]);
        return true;
    }
    if (at == count) {
        assert_int_equal(fake_handle(manager.vm[0].spawned.thread)->core, 1);
    }
    return script_two_off(at - count);
}

static void test_move(void **state)
{
    (void)state;
    script = script_move;
    assert_int_equal(run("[vm one]\nimage = hello\nmemory = 8M\nshare = 25%\n"
                         "[vm two]\nimage = hello\nmemory = 8M\ncores = 1\n"), 0);
    expect("VM 'one' started: core 1");
    expect("VM 'one' goes to core 0\r\n");
    expect("one             running     0   25%");
    expect("VM 'one' is on core 0\r\n");
    expect("core 2 does not exist: this machine has 2\r\n");
    expect("usage: vm move NAME CORE\r\nbulkhead> vm move one x\r\nusage: vm move");
    expect("core 0 is not among the `cores` of VM 'two' in the config\r\n");
    expect("VM 'one' goes to core 1\r\n");
    expect("every VM is where it belongs\r\n");
}

static bool script_sample(int at)
{
    static const char *const commands[] = {
        "sample\r", "sample one 0 3\r", "sample one 1 1001\r", "sample one 1 3x\r",
        "sample one,nobody 1 3\r", "sample one,one,one,one,one 1 3\r", "sample one 1 3\r",
    };
    fake.stats_count = 1;
    fake.stats[0].process = process_of(0)->status.id;
    if ((size_t)at < sizeof(commands) / sizeof(commands[0])) {
        type(commands[at]);
        return true;
    }
    if (strstr(said, "sample: done") == NULL) {
        // Nothing happens until the next point is due; meanwhile the VM has run.
        const struct manager_sample *sample = &manager.sample;
        while (tsc_read() < sample->start_tsc + sample->taken * sample->period_tsc) {
        }
        fake.stats[0].run_tsc += 100 * sample->taken;
        return false;
    }
    script = script_two_off;
    step = 1;
    return script_two_off(0);
}

static void test_sample(void **state)
{
    (void)state;
    script = script_sample;
    assert_int_equal(run(two_vms), 0);
    expect("> sample\r\n");
    expect("want sample NAME[,NAME...] MS COUNT: MS from 1 to 10000, COUNT from 1 to 1000\r\n");
    expect("no VM is called 'nobody'");
    expect("at most 4 VMs are sampled at a time\r\n");
    expect("sampling 3 times, every 1 ms\r\n");
    expect("sample one: ");
    unsigned long long a, b, c;
    assert_int_equal(sscanf(strstr(said, "sample one: "),
                            "sample one: %llu:100 %llu:200 %llu:300\r\n", &a, &b, &c), 3);
    assert_true(a + b + c >= 3000000);
}

static bool script_power_off(int at)
{
    if (at == 0) {
        type("power-off\r");
    } else if (fake.off >= 0) {
        return script_two_off(at - 1);
    }
    return true;
}

static void test_power_off(void **state)
{
    (void)state;
    script = script_power_off;
    run(two_vms);
    assert_int_equal(fake.off, 0);
    expect("the machine is powered off by the monitor\r\n");
}

// log = debug begins with a measurement; without the boot module, nothing is traced.
static void test_debug(void **state)
{
    (void)state;
    static char config[512];
    script = script_two_off;
    snprintf(config, sizeof(config), "[system]\nlog = debug\n%s", two_vms);
    assert_int_equal(run(config), 0);
    expect("path=syscall rounds=10000 min=");
    assert_null(strstr(said, "trace syscall"));
}

// 60 VMs are one more than there are lines.
static void test_too_many(void **state)
{
    (void)state;
    static char config[8192];
    uint32_t len = 0;
    for (int i = 0; i < 60; i++) {
        len += (uint32_t)snprintf(config + len, sizeof(config) - len,
                                  "[vm v%d]\nimage = hello\n", i);
    }
    const struct config_sink sink = {.report = NULL};
    config_parse(&manager.config, "many.conf", config, len, &sink);
    manager.boot = &boot;
    assert_int_equal(report_init(&manager), OK);
    assert_int_equal(vms_prepare(&manager), OK);
    assert_int_equal(manager.vms, MANAGER_VMS_MAX);
    read_line0();
    expect("many.conf:119:1: [vm v59] is one too many: 59 VMs can be run\r\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_two_vms), TEST(test_what_processes_get), TEST(test_killed),
        TEST(test_bad_vm_is_skipped), TEST(test_nothing_to_run), TEST(test_no_config),
        TEST(test_no_console), TEST(test_broken_vmm), TEST(test_audit_fails), TEST(test_monitor),
        TEST(test_move), TEST(test_sample), TEST(test_power_off), TEST(test_debug),
        TEST(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
